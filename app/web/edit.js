/** The dialogs that change a picture of the catalogue: what is said of it, and whether it stays. */

import { deletePicture, describePicture } from "./api.js";
import { ask } from "./dialog.js";
import { button, el } from "./dom.js";
import { Fields } from "./fields.js";
import { TextBox } from "./textbox.js";

/** @import { Patch, Picture } from "./api.js" */

const LONGEST_LABEL = 512;

/**
 * @param {Picture} picture
 * @param {() => void} onDone
 */
export function openEdit(picture, onDone) {
  const label = new TextBox(picture.label ?? "", { maxLength: LONGEST_LABEL, autofocus: true });
  const fields = new Fields(picture.metadata);
  const add = button("Add a field", () => fields.addEmpty(), { className: "light" });
  const hint = 'Numbers, true, false and lists are kept as such; put "quotes" around what should be text.';
  const question = el(
    "div",
    { className: "question" },
    el("label", {}, "Label", label.control),
    fields.element,
    el("p", { className: "controls" }, add),
    el("p", { className: "hint" }, hint),
  );
  ask(`Edit ${picture.key}`, "edit", question, "Save", async () => {
    const patch = changes(label, fields);
    if (Object.keys(patch).length) await describePicture(picture.id, patch);
    onDone();
  });
}

/**
 * @param {Picture} picture
 * @param {() => void} onDone
 */
export function openDelete(picture, onDone) {
  const sentence = "The picture and everything that is said of it are deleted for good.";
  ask(
    `Delete ${picture.label ?? ""} ${picture.key}?`,
    "delete",
    el("p", {}, sentence),
    "Delete",
    async () => {
      await deletePicture(picture.id);
      onDone();
    },
  );
}

/**
 * @param {TextBox} label
 * @param {Fields} fields
 * @returns {Partial<Patch>} only what is different
 */
function changes(label, fields) {
  const metadata = fields.changes();
  return {
    ...(label.text === label.before ? {} : { label: label.text || null }),
    ...(Object.keys(metadata).length ? { metadata } : {}),
  };
}
