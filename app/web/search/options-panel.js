/** Panel of search options: a slider for each, and the field to group results by. Changes apply at once. */

import { Debouncer } from "../common/debounce.js";
import { el } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { countedFields } from "../filters/facets.js";
import { OPTIONS, stepsWithValue } from "./options.js";

/** @import { SearchResponse } from "../api/client.js" */
/** @import { SearchOption } from "./options.js" */
/** @import { Query } from "./query.js" */

/**
 * @typedef {object} Slider
 * @property {SearchOption} option
 * @property {HTMLInputElement} input
 * @property {HTMLElement} output
 * @property {HTMLElement} row
 * @property {(number | null)[]} steps
 */

const DEBOUNCE_MS = 200;

export class OptionsPanel {
  /** @type {Debouncer<Partial<Query>>} */
  debouncer;

  /**
   * @param {HTMLElement} root
   * @param {(change: Partial<Query>) => void} onChange
   */
  constructor(root, onChange) {
    this.debouncer = new Debouncer(DEBOUNCE_MS, onChange);
    this.sliders = OPTIONS.map((option) => this.createSlider(option));
    this.group = el("select", { id: "group" });
    this.group.addEventListener("change", () => onChange({ group_by: this.group.value || null }));
    this.result = el("p", { className: "result-summary", role: "status" });
    root.append(...this.sliders.map(({ row }) => row), this.groupRow(), this.result);
  }

  /**
   * @param {SearchOption} option
   * @returns {Slider}
   */
  createSlider(option) {
    const id = `option-${option.name}`;
    const input = el("input", { type: "range", id, min: "0", name: option.name });
    const output = el("output", { htmlFor: id });
    const head = el("p", {}, el("label", { htmlFor: id }, option.title), output);
    const hint = el("p", { className: "hint", id: `${id}-hint` }, option.hint);
    input.setAttribute("aria-describedby", hint.id);
    const row = el("div", { className: "option" }, head, input, hint);
    /** @type {Slider} */
    const slider = { option, input, output, row, steps: [] };
    input.addEventListener("input", () => this.onInput(slider));
    return slider;
  }

  /** @param {Slider} slider */
  onInput(slider) {
    const value = slider.steps[Number(slider.input.value)];
    showValue(slider, value);
    this.debouncer.schedule({ [slider.option.name]: value });
  }

  groupRow() {
    const head = el("p", {}, el("label", { htmlFor: "group" }, "Group by"));
    const hint = el("p", { className: "hint" }, "Show only the best match for each value of a field.");
    return el("div", { className: "option" }, head, this.group, hint);
  }

  /**
   * @param {Query} query
   * @param {SearchResponse} response
   */
  show(query, response) {
    if (this.debouncer.pending) return; // the user is still moving a slider
    for (const slider of this.sliders) updateSlider(slider, query, response);
    this.result.textContent = resultSummary(response);
    this.setGroups(query.group_by, [...this.group.options].map(({ value }) => value).filter(Boolean));
  }

  /**
   * Load the names of the fields to group by.
   *
   * @param {Query} query
   */
  async loadGroups({ group_by: group }) {
    const fields = await countedFields({}, null, new AbortController().signal).catch((error) => {
      this.result.textContent = error.message;
      return [];
    });
    const names = fields.map(({ name }) => name).filter((name) => name !== "label");
    this.setGroups(this.group.value || group, names);
  }

  /**
   * @param {string | null} selected
   * @param {string[]} names
   */
  setGroups(selected, names) {
    const all = selected && !names.includes(selected) ? [...names, selected] : names;
    const options = all.map((name) => el("option", { value: name, selected: name === selected }, name));
    this.group.replaceChildren(el("option", { value: "" }, "No grouping"), ...options);
  }
}

/**
 * @param {Slider} slider
 * @param {Query} query
 * @param {SearchResponse} response
 */
function updateSlider(slider, query, response) {
  const { option, input, row } = slider;
  slider.steps = stepsWithValue(option, query, response);
  input.max = String(slider.steps.length - 1);
  input.value = String(slider.steps.indexOf(query[option.name]));
  input.disabled = !option.isAvailable(response);
  row.classList.toggle("disabled", input.disabled);
  showValue(slider, query[option.name]);
}

/**
 * @param {Slider} slider
 * @param {number | null} value
 */
function showValue({ option, input, output }, value) {
  const text = input.disabled ? "Not used by this search" : option.text(value);
  output.textContent = text;
  input.setAttribute("aria-valuetext", text);
}

/** @param {SearchResponse} response */
function resultSummary({ pool_size: pool, catalogue_size: size, results, timings_ms: timings }) {
  const counts = `${pluralise(results.length, "result")} from ${pluralise(pool, "candidate")}`;
  return `${counts} in ${pluralise(size, "picture")}, ${timings.total.toFixed(1)} ms.`;
}
