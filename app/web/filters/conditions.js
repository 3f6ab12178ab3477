/**
 * Convert between the API's `label` and `filter` parameters and a condition per field.
 *
 * Conditions that the page has no control for, such as hand-written filters, are preserved and can be removed.
 * Independent of the DOM.
 */

import { displayText } from "../common/format.js";
import { parseJson, stringifyJson } from "../common/json.js";

/** @typedef {Record<string, unknown>} Conditions by field name, including `label` */

/** @typedef {{label: string | null, filter: string | null}} FilterParams */

/** @typedef {string | number | bigint | boolean} Value */

/** @typedef {number | bigint | null} End */

/** @typedef {{from: End, to: End}} Range */

/** @typedef {{text: string, without: Conditions}} Chip */

/**
 * @param {FilterParams} params
 * @returns {Conditions}
 */
export function toConditions({ label, filter }) {
  const conditions = parse(filter);
  if (label === null) return conditions;
  if (!("label" in conditions)) return { label: { $in: [label] }, ...conditions };
  return { ...conditions, $and: [...asList(conditions.$and), { label }] };
}

/**
 * @param {Conditions} conditions
 * @returns {FilterParams} with a single label as `label`, for which the service warns if no picture has it
 */
export function toFilterParams({ label: condition, ...others }) {
  const labels = valuesOf(condition);
  const single = labels.length === 1 && typeof labels[0] === "string" ? labels[0] : null;
  const rest = condition === undefined || single !== null ? others : { label: condition, ...others };
  return { label: single, filter: Object.keys(rest).length ? stringifyJson(rest) : null };
}

/**
 * @param {unknown} condition
 * @returns {Value[]} the values of an equality or `$in` condition; empty for any other
 */
export function valuesOf(condition) {
  if (condition === null || condition === undefined) return [];
  if (typeof condition !== "object") return [/** @type {Value} */ (condition)];
  const { $in: values, $eq: value, ...more } = /** @type {Record<string, unknown>} */ (condition);
  if (Object.keys(more).length) return [];
  return /** @type {Value[]} */ ([...asList(values), ...(value === undefined ? [] : [value])]);
}

/**
 * @param {unknown} condition
 * @returns {Range}
 */
export function rangeOf(condition) {
  const { $gte: from, $lte: to } = /** @type {Record<string, unknown>} */ (condition ?? {});
  return { from: toEnd(from), to: toEnd(to) };
}

/**
 * @param {unknown} value
 * @returns {End} null if it is not a number
 */
function toEnd(value) {
  return typeof value === "number" || typeof value === "bigint" ? value : null;
}

/**
 * @param {Conditions} conditions
 * @param {string} field
 * @param {Value[]} values
 * @returns {Conditions}
 */
export function withValues(conditions, field, values) {
  return values.length ? { ...conditions, [field]: { $in: values } } : without(conditions, field);
}

/**
 * @param {Conditions} conditions
 * @param {string} field
 * @param {Range} range
 * @returns {Conditions}
 */
export function withRange(conditions, field, { from, to }) {
  if (from === null && to === null) return without(conditions, field);
  const range = { ...(from === null ? {} : { $gte: from }), ...(to === null ? {} : { $lte: to }) };
  return { ...conditions, [field]: range };
}

/**
 * @param {Conditions} conditions
 * @param {string} field
 * @returns {Conditions}
 */
export function without(conditions, field) {
  return Object.fromEntries(Object.entries(conditions).filter(([name]) => name !== field));
}

/**
 * @param {Conditions} conditions
 * @returns {Chip[]} one for each value or condition, with the conditions that remain without it
 */
export function toChips(conditions) {
  return Object.entries(conditions).flatMap(([field, condition]) => {
    const values = valuesOf(condition);
    if (!values.length)
      return [{ text: conditionText(field, condition), without: without(conditions, field) }];
    return values.map((value) => {
      const others = values.filter((other) => other !== value);
      return { text: `${field}: ${displayText(value)}`, without: withValues(conditions, field, others) };
    });
  });
}

/**
 * @param {string} field
 * @param {unknown} condition
 */
function conditionText(field, condition) {
  const { from, to } = rangeOf(condition);
  const operators = Object.keys(/** @type {object} */ (condition ?? {}));
  const isRange = operators.every((name) => ["$gte", "$lte"].includes(name));
  if (!isRange || (from === null && to === null)) return `${field}: ${stringifyJson(condition)}`;
  if (from === null) return `${field}: up to ${to}`;
  return to === null ? `${field}: from ${from}` : `${field}: ${from} to ${to}`;
}

/**
 * @param {string | null} filter
 * @returns {Conditions} empty if the filter is invalid; the service reports the error
 */
function parse(filter) {
  try {
    const parsed = parseJson(filter ?? "{}");
    return typeof parsed === "object" && !Array.isArray(parsed) ? (parsed ?? {}) : {};
  } catch {
    return {};
  }
}

/** @param {unknown} value */
function asList(value) {
  return Array.isArray(value) ? value : [];
}
