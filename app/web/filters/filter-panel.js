/** Filter panel: checkboxes with counts for texts and booleans, range inputs for numbers. */

import { button, el, replaceKeepingFocus } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { displayText } from "../common/format.js";
import { rangeOf, valuesOf, withRange, withValues } from "./conditions.js";
import { countedFields } from "./facets.js";
import { rangeInput } from "./range-input.js";

/** @import { Count, Field } from "../api/client.js" */
/** @import { Conditions, Value } from "./conditions.js" */

const COLLAPSED_VALUES = 8;

export class FilterPanel {
  /** @type {Conditions} */
  conditions = {};
  /** @type {Field[]} */
  fields = [];
  /** @type {Set<string>} names of the fields that show all values */
  expanded = new Set();
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
   * Load the counts and draw the panel; the old content stays visible until then.
   *
   * @param {Conditions} conditions
   */
  async show(conditions) {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    this.conditions = conditions;
    if (!this.root.childElementCount) this.root.replaceChildren(el("p", { className: "hint" }, "Loading…"));
    try {
      this.fields = await countedFields(conditions, signal);
      if (!signal.aborted) this.draw();
    } catch (error) {
      if (!signal.aborted) this.root.replaceChildren(errorMessage(error));
    }
  }

  draw() {
    const empty = el("p", { className: "hint" }, "The pictures have no labels or fields to filter by.");
    const content = this.fields.length ? this.fields.map((field) => this.fieldset(field)) : [empty];
    replaceKeepingFocus(this.root, ...content);
  }

  /** @param {Field} field */
  fieldset(field) {
    const controls = field.type === "number" ? this.range(field) : this.choices(field);
    return el("fieldset", {}, el("legend", {}, field.name), ...controls);
  }

  /** @param {Field} field */
  range(field) {
    const { name } = field;
    return rangeInput(field, rangeOf(this.conditions[name]), (range) => {
      this.change(withRange(this.conditions, name, range));
    });
  }

  /** @param {Field} field */
  choices({ name, values, distinct }) {
    const selected = valuesOf(this.conditions[name]);
    const all = [...values, ...uncounted(selected, values)];
    const expanded = this.expanded.has(name) || all.length <= COLLAPSED_VALUES + 1;
    const shown = expanded
      ? all
      : all.filter(({ value }, index) => index < COLLAPSED_VALUES || selected.includes(value));
    const rows = shown.map(({ value, count }) => this.choice(name, value, count, selected));
    const list = el("ul", {}, ...rows.map((row) => el("li", {}, row)));
    const expand = button(`Show all ${all.length} values`, () => this.expand(name), {
      className: "link",
      name: `all ${name}`,
    });
    const truncated = el(
      "p",
      { className: "hint" },
      `The ${values.length} most frequent of ${distinct.toLocaleString("en")} values`,
    );
    return [
      list,
      ...(expanded ? [] : [expand]),
      ...(expanded && distinct > values.length ? [truncated] : []),
    ];
  }

  /** @param {string} name */
  expand(name) {
    this.expanded.add(name);
    this.draw();
    /** @type {HTMLElement} */ (this.root.querySelector(`[name="${CSS.escape(name)}"]`))?.focus();
  }

  /**
   * @param {string} name
   * @param {Value} value
   * @param {number} count of pictures
   * @param {Value[]} selected
   */
  choice(name, value, count, selected) {
    const checked = selected.includes(value);
    const checkbox = el("input", { type: "checkbox", name, value: displayText(value), checked });
    checkbox.addEventListener("change", () => {
      const others = valuesOf(this.conditions[name]).filter((other) => other !== value);
      this.change(withValues(this.conditions, name, checkbox.checked ? [...others, value] : others));
    });
    const countText = el("span", { className: "count" }, count.toLocaleString("en"));
    return el("label", {}, checkbox, el("span", { className: "value" }, displayText(value)), " ", countText);
  }

  /** @param {Conditions} conditions */
  change(conditions) {
    this.conditions = conditions;
    this.onChange(conditions);
  }
}

/**
 * Return the selected values that have no count, so that they can be deselected.
 *
 * @param {Value[]} selected
 * @param {Count[]} counts
 * @returns {Count[]}
 */
function uncounted(selected, counts) {
  const counted = counts.map(({ value }) => value);
  return selected.filter((value) => !counted.includes(value)).map((value) => ({ value, count: 0 }));
}

/** @param {unknown} error */
function errorMessage(error) {
  return el("p", { className: "error", role: "alert" }, messageOf(error));
}
