/** How to fill an empty catalogue. */

import { BASE } from "./base.js";
import { el } from "./dom.js";

export function emptyCatalogue() {
  const command = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${BASE}index`;
  return el(
    "div",
    { className: "empty" },
    el(
      "p",
      {},
      "Drop pictures or a whole folder on this page, or put the first picture in with one command:",
    ),
    el("pre", {}, el("code", {}, command)),
    el("p", {}, "More ways are in the ", el("a", { href: new URL("docs", BASE).href }, "API docs"), "."),
  );
}
