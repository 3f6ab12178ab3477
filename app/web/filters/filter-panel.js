/** Filter panel: checkboxes with counts for texts and booleans, range inputs for numbers. */

import { button, el, replaceKeepingFocus } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { displayText } from "../common/format.js";
import { stringifyJson } from "../common/json.js";
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
  /** @type {Map<string, string>} text that the values of a field are searched for */
  wanted = new Map();
  /** @type {Map<string, {fieldset: HTMLElement, condition: string}>} the range inputs, and the condition that each shows */
  ranges = new Map();
  running = new AbortController();
  /** Whether only some of the pictures are counted. */
  limited = false;

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
   * @param {string | null} text words that the counted pictures contain
   */
  async show(conditions, text) {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    this.conditions = conditions;
    this.limited = text !== null || Object.keys(conditions).length > 0;
    if (!this.root.childElementCount) this.root.replaceChildren(el("p", { className: "hint" }, "Loading…"));
    try {
      this.fields = await countedFields(conditions, text, signal);
      if (!signal.aborted) this.draw();
    } catch (error) {
      if (!signal.aborted) this.root.replaceChildren(errorMessage(error));
    }
  }

  draw() {
    const shown = this.fields.filter((field) => field.name in this.conditions || !isUnique(field));
    const nothing = this.limited ? "" : "The pictures have no labels or fields to filter by.";
    const content = shown.map((field) => this.fieldset(field));
    replaceKeepingFocus(this.root, ...(shown.length ? content : [el("p", { className: "hint" }, nothing)]));
  }

  /** @param {Field} field */
  fieldset(field) {
    return field.type === "number" ? this.range(field) : fieldsetOf(field, this.choices(field));
  }

  /**
   * The range inputs of a field: those that are there if one of them has the focus, because it may be half typed.
   *
   * @param {Field} field
   */
  range(field) {
    const { name } = field;
    const condition = stringifyJson(this.conditions[name] ?? null);
    const drawn = this.ranges.get(name);
    if (drawn?.condition === condition && drawn.fieldset.contains(document.activeElement)) return drawn.fieldset;
    const inputs = rangeInput(field, rangeOf(this.conditions[name]), (range) => {
      const conditions = withRange(this.conditions, name, range);
      now.condition = stringifyJson(conditions[name] ?? null);
      this.change(conditions);
    });
    const now = { fieldset: fieldsetOf(field, inputs), condition };
    this.ranges.set(name, now);
    return now.fieldset;
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
      ...(expanded && all.length > COLLAPSED_VALUES + 1 ? [this.valueSearch(name, list)] : []),
      list,
      ...(expanded ? [] : [expand]),
      ...(expanded && distinct > values.length ? [truncated] : []),
    ];
  }

  /**
   * Input that hides the values of a long list that do not contain its text; checked ones stay.
   *
   * @param {string} name
   * @param {HTMLElement} list
   */
  valueSearch(name, list) {
    const label = `Find a value of ${name}`;
    const value = this.wanted.get(name) ?? "";
    const input = el("input", { type: "search", name: `find ${name}`, placeholder: "Find a value", ariaLabel: label, value });
    const update = () => {
      const wanted = input.value.trim().toLowerCase();
      this.wanted.set(name, input.value);
      for (const item of list.children) {
        const text = item.querySelector(".value")?.textContent?.toLowerCase() ?? "";
        const checked = item.querySelector("input")?.checked;
        /** @type {HTMLElement} */ (item).hidden = !checked && !text.includes(wanted);
      }
    };
    input.addEventListener("input", update);
    update();
    return input;
  }

  /** @param {string} name */
  expand(name) {
    this.expanded.add(name);
    this.draw();
    /** @type {HTMLElement} */ (this.root.querySelector(`[name="${CSS.escape(`find ${name}`)}"]`))?.focus();
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
 * @param {Field} field
 * @param {HTMLElement[]} controls
 */
function fieldsetOf({ name }, controls) {
  return el("fieldset", {}, el("legend", {}, name), ...controls);
}

/**
 * Whether a field has a different text for each picture, such as an address or a description.
 *
 * @param {Field} field
 */
function isUnique({ type, values, distinct }) {
  return type === "text" && distinct > COLLAPSED_VALUES && values[0]?.count === 1;
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
