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
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>} the label first
 */
export async function countedFields(conditions, signal) {
  const filtered = Object.keys(conditions).filter((name) => !name.startsWith("$"));
  const [all, ...own] = await Promise.all([
    loadFields(conditions, signal),
    ...filtered.map((name) => loadFields(without(conditions, name), signal)),
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
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>}
 */
async function loadFields(conditions, signal) {
  const { labels, fields } = await getFacets({ ...toFilterParams(conditions), text: null }, signal);
  const usable = fields.filter(({ name }) => !["label", "key"].includes(name) && !name.startsWith("$"));
  if (!labels.length) return usable;
  return [
    { name: "label", type: "text", values: labels, distinct: labels.length, min: null, max: null },
    ...usable,
  ];
}
