/** Dialogs to edit the label and metadata of a catalogue picture, and to delete it. */

import { deletePicture, updatePicture } from "../api/client.js";
import { openForm } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { MetadataFields } from "./metadata-fields.js";
import { TextField } from "./text-field.js";

/** @import { Patch, Picture } from "../api/client.js" */

const MAX_LABEL_LENGTH = 512;
const KEPT = "You can undo this, or restore it from the trash later, unless the service keeps no trash.";

/**
 * @param {Picture} picture
 * @param {() => void} onSaved
 */
export function openEdit(picture, onSaved) {
  const label = new TextField(picture.label ?? "", { maxLength: MAX_LABEL_LENGTH, autofocus: true });
  const fields = new MetadataFields(picture.metadata);
  const add = button("Add a field", () => fields.addEmpty(), { className: "link" });
  const hint = 'Numbers, true, false and lists are stored as such. Use "quotes" to store them as text.';
  const form = el(
    "div",
    { className: "form" },
    el("label", {}, "Label", label.control),
    fields.element,
    el("p", { className: "controls" }, add),
    el("p", { className: "hint" }, hint),
  );
  openForm(`Edit ${picture.key}`, "edit", form, "Save", async () => {
    const patch = changes(label, fields);
    if (Object.keys(patch).length) await updatePicture(picture.id, patch);
    onSaved();
  });
}

/**
 * @param {Picture} picture
 * @param {() => void} onDeleted
 */
export function openDelete(picture, onDeleted) {
  const heading = `Delete ${picture.label ?? ""} ${picture.key}?`;
  const warning = el("p", {}, KEPT);
  openForm(heading, "delete", warning, "Delete", async () => {
    await deletePicture(picture.id);
    onDeleted();
  });
}

/**
 * @param {TextField} label
 * @param {MetadataFields} fields
 * @returns {Partial<Patch>} only what changed
 */
function changes(label, fields) {
  const metadata = fields.changes();
  return {
    ...(label.text === label.initial ? {} : { label: label.text || null }),
    ...(Object.keys(metadata).length ? { metadata } : {}),
  };
}
