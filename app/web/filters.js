/**
 * Filters: which values of which fields are let through, as `label` and `filter` of the API and back.
 *
 * What this page's controls cannot make, such as a filter that somebody wrote by hand, is kept as it is and can
 * be taken away. Knows nothing of the DOM.
 */

import { plain } from "./dom.js";

/** @typedef {Record<string, unknown>} Conditions by field, `label` among them */

/** @typedef {{label: string | null, filter: string | null}} Narrowing */

/** @typedef {string | number | boolean} Value */

/** @typedef {{from: number | null, to: number | null}} Range */

/** @typedef {{text: string, without: Conditions}} Chip */

/**
 * @param {Narrowing} narrowing
 * @returns {Conditions}
 */
export function toConditions({ label, filter }) {
  const conditions = read(filter);
  if (label === null) return conditions;
  if (!("label" in conditions)) return { label: { $in: [label] }, ...conditions };
  return { ...conditions, $and: [...asList(conditions.$and), { label }] };
}

/**
 * @param {Conditions} conditions
 * @returns {Narrowing} a single label by its own parameter, which says so where no picture has it
 */
export function toNarrowing({ label: ofLabel, ...others }) {
  const labels = valuesOf(ofLabel);
  const single = labels.length === 1 && typeof labels[0] === "string" ? labels[0] : null;
  const rest = ofLabel === undefined || single !== null ? others : { label: ofLabel, ...others };
  return { label: single, filter: Object.keys(rest).length ? JSON.stringify(rest) : null };
}

/**
 * @param {unknown} condition
 * @returns {Value[]} the values that it lets through, if it is a choice of values
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
  return { from: typeof from === "number" ? from : null, to: typeof to === "number" ? to : null };
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
 * @returns {Chip[]} what is let through, and the conditions without it
 */
export function toChips(conditions) {
  return Object.entries(conditions).flatMap(([field, condition]) => {
    const values = valuesOf(condition);
    if (!values.length)
      return [{ text: conditionText(field, condition), without: without(conditions, field) }];
    return values.map((value) => {
      const others = values.filter((other) => other !== value);
      return { text: `${field}: ${plain(value)}`, without: withValues(conditions, field, others) };
    });
  });
}

/**
 * @param {string} field
 * @param {unknown} condition
 */
function conditionText(field, condition) {
  const { from, to } = rangeOf(condition);
  const known = Object.keys(/** @type {object} */ (condition ?? {})).every((name) =>
    ["$gte", "$lte"].includes(name),
  );
  if (!known || (from === null && to === null)) return `${field}: ${JSON.stringify(condition)}`;
  if (from === null) return `${field}: up to ${to}`;
  return to === null ? `${field}: from ${from}` : `${field}: ${from} to ${to}`;
}

/**
 * @param {string | null} filter
 * @returns {Conditions} none where it cannot be read; the service says why
 */
function read(filter) {
  try {
    const parsed = JSON.parse(filter ?? "{}");
    return typeof parsed === "object" && !Array.isArray(parsed) ? (parsed ?? {}) : {};
  } catch {
    return {};
  }
}

/** @param {unknown} value */
function asList(value) {
  return Array.isArray(value) ? value : [];
}
