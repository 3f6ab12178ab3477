/** The panel of sliders, and of the field by which results are grouped; each change shows at once what it does. */

import { counted, el } from "./dom.js";
import { countedFields } from "./facets.js";
import { Settling } from "./settling.js";
import { WAYS, stepsWith } from "./ways.js";

/** @import { Answer } from "./api.js" */
/** @import { Asked } from "./asked.js" */
/** @import { Way } from "./ways.js" */

/** @typedef {{way: Way, input: HTMLInputElement, output: HTMLElement, row: HTMLElement, steps: (number | null)[]}} Slider */

const SETTLED_MS = 200;

export class WaysPanel {
  /** @type {Settling<Partial<Asked>>} */
  settling;

  /**
   * @param {HTMLElement} root
   * @param {(change: Partial<Asked>) => void} onChange
   */
  constructor(root, onChange) {
    this.settling = new Settling(SETTLED_MS, onChange);
    this.sliders = WAYS.map((way) => this.slider(way));
    this.group = el("select", { id: "group" });
    this.group.addEventListener("change", () => onChange({ group_by: this.group.value || null }));
    this.effect = el("p", { className: "effect", role: "status" });
    root.append(...this.sliders.map(({ row }) => row), this.groupRow(), this.effect);
  }

  /**
   * @param {Way} way
   * @returns {Slider}
   */
  slider(way) {
    const id = `way-${way.name}`;
    const input = el("input", { type: "range", id, min: "0", name: way.name });
    const output = el("output", { htmlFor: id });
    const head = el("p", {}, el("label", { htmlFor: id }, way.title), output);
    const hint = el("p", { className: "hint", id: `${id}-hint` }, way.hint);
    input.setAttribute("aria-describedby", hint.id);
    /** @type {Slider} */
    const slider = { way, input, output, row: el("div", { className: "way" }, head, input, hint), steps: [] };
    input.addEventListener("input", () => this.slide(slider));
    return slider;
  }

  /** @param {Slider} slider */
  slide(slider) {
    const value = slider.steps[Number(slider.input.value)];
    say(slider, value);
    this.settling.take({ [slider.way.name]: value });
  }

  groupRow() {
    const head = el("p", {}, el("label", { htmlFor: "group" }, "One of each"));
    return el(
      "div",
      { className: "way" },
      head,
      this.group,
      el("p", { className: "hint" }, "Only the best of those that have the same in this field."),
    );
  }

  /**
   * @param {Asked} asked
   * @param {Answer} answer
   */
  show(asked, answer) {
    if (this.settling.waiting) return; // a hand is still at it
    for (const slider of this.sliders) set(slider, asked, answer);
    this.effect.textContent = effectOf(answer);
    this.offerGroups(asked.group_by, [...this.group.options].map(({ value }) => value).filter(Boolean));
  }

  /**
   * Asks which fields there are to group by.
   *
   * @param {Asked} asked
   */
  async open({ group_by: group }) {
    const fields = await countedFields({}, new AbortController().signal).catch((error) => {
      this.effect.textContent = error.message;
      return [];
    });
    const names = fields.map(({ name }) => name).filter((name) => name !== "label");
    this.offerGroups(this.group.value || group, names);
  }

  /**
   * @param {string | null} chosen
   * @param {string[]} names
   */
  offerGroups(chosen, names) {
    const all = chosen && !names.includes(chosen) ? [...names, chosen] : names;
    const options = all.map((name) => el("option", { value: name, selected: name === chosen }, name));
    this.group.replaceChildren(el("option", { value: "" }, "nothing: show all"), ...options);
  }
}

/**
 * @param {Slider} slider
 * @param {Asked} asked
 * @param {Answer} answer
 */
function set(slider, asked, answer) {
  const { way, input, row } = slider;
  slider.steps = stepsWith(way, asked, answer);
  input.max = String(slider.steps.length - 1);
  input.value = String(slider.steps.indexOf(asked[way.name]));
  input.disabled = !way.works(answer);
  row.classList.toggle("idle", input.disabled);
  say(slider, asked[way.name]);
}

/**
 * @param {Slider} slider
 * @param {number | null} value
 */
function say({ way, input, output }, value) {
  const text = input.disabled ? "changes nothing here" : way.text(value);
  output.textContent = text;
  input.setAttribute("aria-valuetext", text);
}

/** @param {Answer} answer */
function effectOf({ pool_size: pool, catalogue_size: size, results, timings_ms: timings }) {
  const found = `${counted(results.length, "picture")} found among ${counted(pool, "candidate")}`;
  return `${found} of ${size.toLocaleString("en")}, in ${timings.total.toFixed(1)} ms.`;
}
