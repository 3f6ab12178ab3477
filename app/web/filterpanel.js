/** The panel in which filters are chosen: values of texts with their counts, numbers from and to. */

import { button, el, plain, redraw } from "./dom.js";
import { ends } from "./ends.js";
import { countedFields } from "./facets.js";
import { rangeOf, valuesOf, withRange, withValues } from "./filters.js";

/** @import { Count, Field } from "./api.js" */
/** @import { Conditions, Value } from "./filters.js" */

const VALUES_AT_FIRST = 8;

export class FilterPanel {
  /** @type {Conditions} */
  conditions = {};
  /** @type {Field[]} */
  fields = [];
  /** @type {Set<string>} the fields whose values are all shown */
  unfolded = new Set();
  running = new AbortController();

  /**
   * @param {HTMLElement} root
   * @param {(conditions: Conditions) => void} onChange
   */
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
  }

  /**
   * Counts and draws; what was drawn stays until it is counted.
   *
   * @param {Conditions} conditions
   */
  async show(conditions) {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    this.conditions = conditions;
    if (!this.root.childElementCount) this.root.replaceChildren(el("p", { className: "hint" }, "Counting…"));
    try {
      this.fields = await countedFields(conditions, signal);
      if (!signal.aborted) this.draw();
    } catch (error) {
      if (!signal.aborted) this.root.replaceChildren(trouble(error));
    }
  }

  draw() {
    const nothing = el("p", { className: "hint" }, "No picture has a label or a field to filter by.");
    redraw(this.root, ...(this.fields.length ? this.fields.map((field) => this.fieldset(field)) : [nothing]));
  }

  /** @param {Field} field */
  fieldset(field) {
    const controls = field.type === "number" ? this.range(field) : this.choices(field);
    return el("fieldset", {}, el("legend", {}, field.name), ...controls);
  }

  /** @param {Field} field */
  range(field) {
    const { name } = field;
    return ends(field, rangeOf(this.conditions[name]), (range) => {
      this.change(withRange(this.conditions, name, range));
    });
  }

  /** @param {Field} field */
  choices({ name, values, distinct }) {
    const chosen = valuesOf(this.conditions[name]);
    const offered = [...values, ...missing(chosen, values)];
    const all = this.unfolded.has(name) || offered.length <= VALUES_AT_FIRST + 1;
    const shown = all
      ? offered
      : offered.filter(({ value }, place) => place < VALUES_AT_FIRST || chosen.includes(value));
    const rows = shown.map(({ value, count }) => this.choice(name, value, count, chosen));
    const list = el("ul", {}, ...rows.map((row) => el("li", {}, row)));
    const unfold = button(`All ${offered.length} values`, () => this.unfold(name), {
      className: "light",
      name: `all ${name}`,
    });
    const rest = el(
      "p",
      { className: "hint" },
      `The ${values.length} most frequent of ${distinct.toLocaleString("en")}`,
    );
    return [list, ...(all ? [] : [unfold]), ...(all && distinct > values.length ? [rest] : [])];
  }

  /** @param {string} name */
  unfold(name) {
    this.unfolded.add(name);
    this.draw();
    /** @type {HTMLElement} */ (this.root.querySelector(`[name="${CSS.escape(name)}"]`))?.focus();
  }

  /**
   * @param {string} name
   * @param {Value} value
   * @param {number} pictures
   * @param {Value[]} chosen
   */
  choice(name, value, pictures, chosen) {
    const checked = chosen.includes(value);
    const box = el("input", { type: "checkbox", name, value: plain(value), checked });
    box.addEventListener("change", () => {
      const others = valuesOf(this.conditions[name]).filter((other) => other !== value);
      this.change(withValues(this.conditions, name, box.checked ? [...others, value] : others));
    });
    const count = el("span", { className: "count" }, pictures.toLocaleString("en"));
    return el("label", {}, box, el("span", { className: "value" }, plain(value)), " ", count);
  }

  /** @param {Conditions} conditions */
  change(conditions) {
    this.conditions = conditions;
    this.onChange(conditions);
  }
}

/**
 * @param {Value[]} chosen
 * @param {Count[]} offered
 * @returns {Count[]} what is chosen and passes nowhere else, so that it can be taken away
 */
function missing(chosen, offered) {
  const known = offered.map(({ value }) => value);
  return chosen.filter((value) => !known.includes(value)).map((value) => ({ value, count: 0 }));
}

/** @param {unknown} error */
function trouble(error) {
  return el(
    "p",
    { className: "trouble", role: "alert" },
    error instanceof Error ? error.message : String(error),
  );
}
