/**
 * Parse and format metadata values as text.
 *
 * Text that is valid JSON becomes a number, boolean, list or object; anything else is a string. Quotes force a string.
 */

import { parseJson, stringifyJson } from "../common/json.js";

/**
 * @param {unknown} value
 * @returns {string} text that `parseValue` converts back to the value, given the value as `before`
 */
export function formatValue(value) {
  return typeof value === "string" && parseValue(value) === value ? value : stringifyJson(value);
}

/**
 * @param {string} text
 * @param {unknown} [before] the field's value so far
 * @returns {unknown}
 */
export function parseValue(text, before) {
  try {
    const value = parseJson(text);
    if (value === null || value === Infinity || value === -Infinity) return text;
    return isLong(value) && !isNumber(before) ? text : value;
  } catch {
    return text;
  }
}

/**
 * Return whether a number is so long that it is probably an article number; these stay text.
 *
 * @param {unknown} value
 */
function isLong(value) {
  return typeof value === "bigint" || (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER);
}

/** @param {unknown} value */
function isNumber(value) {
  return typeof value === "bigint" || typeof value === "number";
}
