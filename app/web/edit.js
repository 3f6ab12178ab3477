/** The dialogs that change a picture of the catalogue: what is said of it, and whether it stays. */

import { deletePicture, describePicture } from "./api.js";
import { ask } from "./dialog.js";
import { button, el } from "./dom.js";
import { ReadableError } from "./errors.js";
import { readValue, writeValue } from "./values.js";

/** @import { Patch, Picture } from "./api.js" */

const LONGEST_LABEL = 512;

/**
 * @param {Picture} picture
 * @param {() => void} onDone
 */
export function openEdit(picture, onDone) {
  const label = el("input", { value: picture.label ?? "", maxLength: LONGEST_LABEL, autocomplete: "off" });
  const rows = el("div", { className: "fields" });
  for (const [name, value] of Object.entries(picture.metadata))
    rows.append(fieldRow(name, writeValue(value)));
  const add = () => {
    const row = fieldRow("", "");
    rows.append(row);
    row.querySelector("input")?.focus();
  };
  label.autofocus = true;
  const hint = 'Numbers, true, false and lists are kept as such; put "quotes" around what should be text.';
  const question = el(
    "div",
    { className: "question" },
    el("label", {}, "Label", label),
    rows,
    el("p", { className: "controls" }, button("Add a field", add, { className: "light" })),
    el("p", { className: "hint" }, hint),
  );
  ask(`Edit ${picture.key}`, "edit", question, "Save", async () => {
    const patch = changes(picture, label.value.trim() || null, readFields(rows));
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
 * @param {string} name
 * @param {string} value
 */
function fieldRow(name, value) {
  const fields = [
    el("input", { value: name, ariaLabel: "Field" }),
    el("input", { value, ariaLabel: `Value of ${name || "the new field"}` }),
  ];
  const remove = button("Remove", () => leave(row), {
    className: "light",
    ariaLabel: `Remove ${name || "the new field"}`,
  });
  for (const field of fields) Object.assign(field, { autocomplete: "off" });
  const row = el("p", { className: "field" }, ...fields, remove);
  return row;
}

/** @param {HTMLElement} row */
function leave(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling ?? row.closest("form");
  row.remove();
  /** @type {HTMLElement | null | undefined} */ (next?.querySelector("input"))?.focus();
}

/**
 * @param {HTMLElement} rows
 * @returns {Map<string, string>} the values as they were typed
 */
function readFields(rows) {
  /** @type {Map<string, string>} */
  const typed = new Map();
  for (const row of rows.children) {
    const [name, value] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
    if (!name && !value) continue;
    if (!name) throw new ReadableError(`Please give the field with the value ${value} a name.`);
    if (typed.has(name)) throw new ReadableError(`There are two fields with the name ${name}.`);
    typed.set(name, value);
  }
  return typed;
}

/**
 * @param {Picture} picture
 * @param {string | null} label
 * @param {Map<string, string>} typed
 * @returns {Partial<Patch>} only what is different, so that what somebody else changed meanwhile stays
 */
function changes({ label: before, metadata: fields }, label, typed) {
  const removed = Object.keys(fields).filter((name) => !typed.has(name));
  const changed = [...typed].filter(
    ([name, text]) => !(name in fields) || writeValue(fields[name]).trim() !== text,
  );
  const metadata = Object.fromEntries([
    ...removed.map((name) => [name, null]),
    ...changed.map(([name, text]) => [name, readValue(text)]),
  ]);
  return { ...(label === before ? {} : { label }), ...(Object.keys(metadata).length ? { metadata } : {}) };
}
