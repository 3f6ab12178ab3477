/** What an empty catalogue offers first: adding pictures, and the demo. */

import { BASE } from "../common/base-url.js";
import { byId, button, el } from "../common/dom.js";

export function emptyCatalogue() {
  const add = button("Add pictures", () => byId("add-pictures").click(), { className: "primary" });
  const demo = button("Load the demo", () => showDemo(demo), { className: "disclosure plain" });
  add.dataset.scope = "write";
  const curl = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${BASE}index`;
  const docs = el("a", { href: new URL("docs", BASE).href }, "API docs");
  return el(
    "div",
    { className: "empty" },
    el("p", { className: "controls" }, add, demo),
    el("p", {}, "You can also drop pictures or a folder anywhere on this page, or add them with a command:"),
    el("pre", {}, el("code", {}, curl)),
    el("p", {}, "The ", docs, " describe other ways to add pictures."),
  );
}

/**
 * Name the command that adds the demo pictures: the API has none that does.
 *
 * @param {HTMLElement} opener
 */
function showDemo(opener) {
  const text = el("p", { tabIndex: -1 }, "Run this command on the machine of the service. It adds 360 pictures in a few seconds:");
  opener.closest(".empty")?.append(text, el("pre", {}, el("code", {}, "lookalike demo")));
  opener.hidden = true;
  text.focus();
}
