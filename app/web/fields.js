/** The fields of a picture as rows of two controls, which can be changed, added and removed. */

import { button, el } from "./dom.js";
import { ReadableError } from "./errors.js";
import { TextBox } from "./textbox.js";
import { readValue, writeValue } from "./values.js";

/** @typedef {{name: TextBox, text: TextBox, value: unknown, element: HTMLElement}} Row a new one has no value */

export class Fields {
  /** @type {Row[]} */
  rows = [];
  element = el("div", { className: "fields" });

  /** @param {Record<string, unknown>} metadata */
  constructor(metadata) {
    this.before = Object.keys(metadata);
    for (const [name, value] of Object.entries(metadata)) this.add(name, writeValue(value), value);
  }

  /**
   * @param {string} name
   * @param {string} written
   * @param {unknown} [value]
   */
  add(name, written, value) {
    const called = name || "the new field";
    const row = {
      name: new TextBox(name, { ariaLabel: "Field" }),
      text: new TextBox(written, { ariaLabel: `Value of ${called}` }),
      value,
      element: el("p", { className: "field" }),
    };
    const remove = button("Remove", () => this.remove(row), {
      className: "light",
      ariaLabel: `Remove ${called}`,
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
    const place = this.rows.indexOf(row);
    const next = this.rows[place + 1] ?? this.rows[place - 1];
    /** @type {HTMLElement | null | undefined} */
    const first = row.element.closest("form")?.querySelector("input, textarea");
    this.rows.splice(place, 1);
    row.element.remove();
    (next?.name.control ?? first)?.focus();
  }

  /**
   * @returns {Record<string, unknown>} only what is different, so that what nobody touched stays as it is, and what
   *   somebody else changed meanwhile; null takes a field away
   */
  changes() {
    const named = this.named();
    const removed = this.before.filter((name) => !named.has(name)).map((name) => [name, null]);
    const changed = [...named].filter(([, row]) => isChanged(row)).map(([name, row]) => [name, valueOf(row)]);
    return Object.fromEntries([...removed, ...changed]);
  }

  /** @returns {Map<string, Row>} */
  named() {
    /** @type {Map<string, Row>} */
    const named = new Map();
    for (const row of this.rows) {
      const [name, text] = [row.name.text, row.text.text];
      if (isChanged(row) && !name && !text) continue;
      if (isChanged(row) && !name)
        throw new ReadableError(`Please give the field with the value ${text} a name.`);
      if (named.has(name)) throw new ReadableError(`There are two fields with the name ${name}.`);
      named.set(name, row);
    }
    return named;
  }
}

/** @param {Row} row */
function isChanged({ name, text, value }) {
  return value === undefined || name.text !== name.before || text.text !== text.before;
}

/**
 * @param {Row} row
 * @returns {unknown} for a field that is only renamed, what it was
 */
function valueOf({ text, value }) {
  return value !== undefined && text.text === text.before ? value : readValue(text.text);
}
