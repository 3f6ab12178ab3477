/** Range input: a slider with two ends, and a number field for each, with a message for invalid ranges. */

import { el } from "../common/dom.js";
import { parseNumber } from "../common/json.js";

/** @import { Field } from "../api/client.js" */
/** @import { End, Range } from "./conditions.js" */

const STEPS = 100;

/**
 * @param {Field} field
 * @param {Range} range the active condition
 * @param {(range: Range) => void} onChange
 */
export function rangeInput(field, range, onChange) {
  const { name, min, max } = field;
  const message = el("p", { className: "error", role: "alert" });
  const inputs = [numberInput(`from ${name}`, range.from, min), numberInput(`to ${name}`, range.to, max)];
  const change = () => {
    message.textContent = validate(inputs);
    const [from, to] = inputs.map(valueOf);
    if (!message.textContent) onChange({ from, to });
  };
  for (const input of inputs) input.addEventListener("change", change);
  const [from, to] = inputs;
  return [
    ...slider(field, inputs, change),
    el("div", { className: "range-input" }, el("label", {}, "from", from), el("label", {}, "to", to)),
    message,
  ];
}

/**
 * Two sliders over each other that set the number fields; an end at the field's own minimum or maximum is no limit.
 *
 * @param {Field} field
 * @param {HTMLInputElement[]} inputs
 * @param {() => void} change
 * @returns {HTMLElement[]} empty if the field has one value, or numbers beyond a double
 */
function slider({ name, min, max }, inputs, change) {
  if (typeof min !== "number" || typeof max !== "number" || min >= max) return [];
  const step = niceStep(max - min, Number.isInteger(min) && Number.isInteger(max));
  const low = Math.floor(min / step) * step;
  const high = Math.ceil(max / step) * step;
  const track = el("div", { className: "range-slider" });
  const sliders = inputs.map((input, end) => {
    const value = input.value === "" ? [low, high][end] : Number(input.value);
    const ariaLabel = `${end ? "Highest" : "Lowest"} ${name}`;
    return el("input", { type: "range", name: `${end ? "highest" : "lowest"} ${name}`, min: low, max: high, step, value, ariaLabel });
  });
  const draw = () => {
    const [from, to] = sliders.map((one) => (100 * (Number(one.value) - low)) / (high - low));
    track.style.setProperty("--from", `${from}%`);
    track.style.setProperty("--to", `${to}%`);
  };
  sliders.forEach((one, end) => {
    one.addEventListener("input", () => {
      const other = Number(sliders[1 - end].value);
      const value = end ? Math.max(Number(one.value), other) : Math.min(Number(one.value), other);
      one.value = String(value);
      inputs[end].value = value === [low, high][end] ? "" : String(Number(value.toPrecision(12)));
      draw();
    });
    one.addEventListener("change", change);
  });
  draw();
  track.append(...sliders);
  return [track];
}

/**
 * @param {number} span
 * @param {boolean} whole whether the numbers are integers
 * @returns {number} 1, 2 or 5 times a power of ten; about a hundredth of the span
 */
function niceStep(span, whole) {
  const power = 10 ** Math.floor(Math.log10(span / STEPS));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= STEPS) ?? power;
  return whole ? Math.max(1, step) : step;
}

/**
 * @param {string} name
 * @param {End} value
 * @param {End} placeholder
 */
function numberInput(name, value, placeholder) {
  return el("input", {
    type: "number",
    step: "any",
    name,
    value: value ?? "",
    placeholder: placeholder ?? "",
  });
}

/**
 * @param {HTMLInputElement[]} inputs
 * @returns {string} an error message, or an empty string
 */
function validate(inputs) {
  const [from, to] = inputs.map(valueOf);
  if (inputs.some(({ validity }) => validity.badInput)) return "Enter a number.";
  return from !== null && to !== null && from > to
    ? `The minimum ${from} is above the maximum ${to}. Lower the minimum or raise the maximum.`
    : "";
}

/** @param {HTMLInputElement} input */
function valueOf({ value }) {
  return value === "" ? null : parseNumber(value);
}
