/** Instructions for an empty catalogue. */

import { BASE } from "../common/base-url.js";
import { el } from "../common/dom.js";

export function emptyCatalogue() {
  const command = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${BASE}index`;
  return el(
    "div",
    { className: "empty" },
    el("p", {}, "Drop pictures or a folder on this page, or add the first picture with one command:"),
    el("pre", {}, el("code", {}, command)),
    el("p", {}, "The ", el("a", { href: new URL("docs", BASE).href }, "API docs"), " describe other ways to add pictures."),
  );
}
