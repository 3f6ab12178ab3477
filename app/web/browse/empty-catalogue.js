/** What an empty catalogue offers first: adding pictures, and the demo. */

import { BASE } from "../common/base-url.js";
import { byId, button, el } from "../common/dom.js";
import { demoLoader } from "./demo.js";

export function emptyCatalogue() {
  const add = button("Add pictures", () => byId("add-pictures").click(), { className: "primary" });
  add.dataset.scope = "write";
  const demo = demoLoader();
  const curl = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${BASE}index`;
  const docs = el("a", { href: new URL("docs", BASE).href }, "API docs");
  return el(
    "div",
    { className: "empty" },
    el("p", { className: "controls" }, add, demo.opener),
    demo.status,
    el("p", {}, "You can also drop pictures or a folder anywhere on this page, or add them with a command:"),
    el("pre", {}, el("code", {}, curl)),
    el("p", {}, "The ", docs, " describe other ways to add pictures."),
  );
}
