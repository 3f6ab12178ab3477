/** Instructions for an empty catalogue. */

import { el } from "../common/dom.js";

export function emptyCatalogue() {
  const command = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${location.origin}/index`;
  return el(
    "div",
    { className: "empty" },
    el("p", {}, "Drop pictures or a folder on this page, or add the first picture with one command:"),
    el("pre", {}, el("code", {}, command)),
    el("p", {}, "The ", el("a", { href: "/docs" }, "API docs"), " describe other ways to add pictures."),
  );
}
