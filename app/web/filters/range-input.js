/** Range input: a minimum and a maximum number field with a message for invalid ranges. */

import { el } from "../common/dom.js";
import { parseNumber } from "../common/json.js";

/** @import { Field } from "../api/client.js" */
/** @import { End, Range } from "./conditions.js" */

/**
 * @param {Field} field
 * @param {Range} range the active condition
 * @param {(range: Range) => void} onChange
 */
export function rangeInput({ name, min, max }, range, onChange) {
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
    el("div", { className: "range-input" }, el("label", {}, "from", from), el("label", {}, "to", to)),
    message,
  ];
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
    ? `The minimum ${from} is greater than the maximum ${to}.`
    : "";
}

/** @param {HTMLInputElement} input */
function valueOf({ value }) {
  return value === "" ? null : parseNumber(value);
}
