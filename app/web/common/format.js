/** Format numbers, counts and metadata values as text. */

import { stringifyJson } from "./json.js";

/** @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/**
 * Format a number in English. Formats are kept, because making one is slow.
 *
 * @param {number} value
 * @param {Intl.NumberFormatOptions} options
 */
export function formatNumber(value, options) {
  const key = JSON.stringify(options);
  const format = formats.get(key) ?? new Intl.NumberFormat("en", options);
  formats.set(key, format);
  return format.format(value);
}

/**
 * Format a distance with about three digits, so that distances of one list line up.
 *
 * @param {number} value
 */
export function formatDistance(value) {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return formatNumber(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * Format a similarity as a percentage; only a similarity of exactly 1 becomes 100%.
 *
 * @param {number} similarity 0 to 1
 */
export function formatPercent(similarity) {
  return `${similarity === 1 ? 100 : Math.min(Math.round(100 * similarity), 99)}%`;
}

/** @param {number} value */
export function formatMilliseconds(value) {
  return value.toFixed(value < 1 ? 2 : 1);
}

/**
 * Format a count with its noun: "1 picture", "1,200 pictures".
 *
 * @param {number} count
 * @param {string} singular
 */
export function pluralise(count, singular) {
  return `${count.toLocaleString("en")} ${singular}${count === 1 ? "" : "s"}`;
}

/**
 * @param {unknown} value a metadata value of any JSON type
 * @returns {string}
 */
export function displayText(value) {
  return typeof value === "string" ? value : stringifyJson(value);
}
