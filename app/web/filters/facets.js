/**
 * Load facet counts for the filter panel.
 *
 * A field's values are counted without the field's own condition, so that further values can be chosen.
 */

import { getFacets } from "../api/client.js";
import { toFilterParams, without } from "./conditions.js";

/** @import { Field } from "../api/client.js" */
/** @import { Conditions } from "./conditions.js" */

/**
 * @param {Conditions} conditions
 * @param {string | null} text words that the counted pictures contain
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>} the label first
 */
export async function countedFields(conditions, text, signal) {
  const filtered = Object.keys(conditions).filter((name) => !name.startsWith("$"));
  const [all, ...own] = await Promise.all([
    loadFields(conditions, text, signal),
    ...filtered.map((name) => loadFields(without(conditions, name), text, signal)),
  ]);
  const counted = new Map(all.map((field) => [field.name, field]));
  filtered.forEach((name, index) => {
    const field = own[index].find((candidate) => candidate.name === name);
    if (field) counted.set(name, field);
  });
  return [...counted.values()].filter(({ type }) => type !== "other");
}

/**
 * @param {Conditions} conditions
 * @param {string | null} text
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>}
 */
async function loadFields(conditions, text, signal) {
  const { labels, fields } = await getFacets({ ...toFilterParams(conditions), text }, signal);
  const usable = fields.filter(({ name }) => !["label", "key"].includes(name) && !name.startsWith("$"));
  if (!labels.length) return usable;
  return [
    { name: "label", type: "text", values: labels, distinct: labels.length, min: null, max: null },
    ...usable,
  ];
}
