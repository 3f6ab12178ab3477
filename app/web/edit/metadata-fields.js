/** Form rows for metadata fields: a name and a value each, which can be changed, added and removed. */

import { button, el } from "../common/dom.js";
import { UserError } from "../common/errors.js";
import { TextField } from "./text-field.js";
import { formatValue, parseValue } from "./values.js";

/**
 * @typedef {object} Row
 * @property {TextField} name
 * @property {TextField} text
 * @property {unknown} value the initial value; undefined for a new row
 * @property {HTMLElement} element
 */

export class MetadataFields {
  /** @type {Row[]} */
  rows = [];
  element = el("div", { className: "fields" });

  /** @param {Record<string, unknown>} metadata */
  constructor(metadata) {
    this.initialNames = Object.keys(metadata);
    for (const [name, value] of Object.entries(metadata)) this.add(name, formatValue(value), value);
  }

  /**
   * @param {string} name
   * @param {string} text
   * @param {unknown} [value]
   */
  add(name, text, value) {
    const displayName = name || "the new field";
    const row = {
      name: new TextField(name, { ariaLabel: "Field" }),
      text: new TextField(text, { ariaLabel: `Value of ${displayName}` }),
      value,
      element: el("p", { className: "field" }),
    };
    const remove = button("Remove", () => this.remove(row), {
      className: "link",
      ariaLabel: `Remove ${displayName}`,
    });
    row.element.append(row.name.control, row.text.control, remove);
    this.rows.push(row);
    this.element.append(row.element);
    return row;
  }

  addEmpty() {
    this.add("", "").name.control.focus();
  }

  /** @param {Row} row */
  remove(row) {
    const index = this.rows.indexOf(row);
    const next = this.rows[index + 1] ?? this.rows[index - 1];
    /** @type {HTMLElement | null | undefined} */
    const first = row.element.closest("form")?.querySelector("input, textarea");
    this.rows.splice(index, 1);
    row.element.remove();
    (next?.name.control ?? first)?.focus();
  }

  /**
   * Return only the fields that the user changed, so that concurrent changes to other fields are not overwritten.
   *
   * @returns {Record<string, unknown>} null deletes a field
   */
  changes() {
    const rows = this.rowsByName();
    const removed = this.initialNames.filter((name) => !rows.has(name)).map((name) => [name, null]);
    const changed = [...rows].filter(([, row]) => isChanged(row)).map(([name, row]) => [name, valueOf(row)]);
    return Object.fromEntries([...removed, ...changed]);
  }

  /** @returns {Map<string, Row>} */
  rowsByName() {
    /** @type {Map<string, Row>} */
    const rows = new Map();
    for (const row of this.rows) {
      const [name, text] = [row.name.text, row.text.text];
      if (isChanged(row) && !name && !text) continue;
      if (isChanged(row) && !name)
        throw new UserError(`The field with the value "${text}" has no name. Enter one.`);
      if (rows.has(name)) throw new UserError(`Two fields have the name "${name}". Rename or remove one.`);
      rows.set(name, row);
    }
    return rows;
  }
}

/** @param {Row} row */
function isChanged({ name, text, value }) {
  return value === undefined || name.text !== name.initial || text.text !== text.initial;
}

/**
 * @param {Row} row
 * @returns {unknown} the initial value if only the name changed
 */
function valueOf({ text, value }) {
  return value !== undefined && text.text === text.initial ? value : parseValue(text.text, value);
}
