/** Two fields for numbers, from and to, and a sentence where they hold nothing. */

import { el } from "./dom.js";

/** @import { Field } from "./api.js" */
/** @import { Range } from "./filters.js" */

/**
 * @param {Field} field
 * @param {Range} range what is in force
 * @param {(range: Range) => void} onChange
 */
export function ends({ name, min, max }, range, onChange) {
  const trouble = el("p", { className: "trouble", role: "alert" });
  const inputs = [number(`from ${name}`, range.from, min), number(`to ${name}`, range.to, max)];
  const change = () => {
    trouble.textContent = troubleWith(inputs);
    const [from, to] = inputs.map(valueOf);
    if (!trouble.textContent) onChange({ from, to });
  };
  for (const input of inputs) input.addEventListener("change", change);
  const [from, to] = inputs;
  return [
    el("div", { className: "ends" }, el("label", {}, "from", from), el("label", {}, "to", to)),
    trouble,
  ];
}

/**
 * @param {string} name
 * @param {number | null} value
 * @param {number | null} placeholder
 */
function number(name, value, placeholder) {
  return el("input", {
    type: "number",
    step: "any",
    name,
    value: value ?? "",
    placeholder: placeholder ?? "",
  });
}

/** @param {HTMLInputElement[]} inputs */
function troubleWith(inputs) {
  const [from, to] = inputs.map(valueOf);
  if (inputs.some(({ validity }) => validity.badInput)) return "Please give a number.";
  return from !== null && to !== null && from > to ? `Nothing is at least ${from} and at most ${to}.` : "";
}

/** @param {HTMLInputElement} input */
function valueOf({ value, valueAsNumber }) {
  return value === "" ? null : valueAsNumber;
}
