/**
 * What can be filtered by, counted so that more can be chosen: the values of a field among the pictures that pass
 * everything but this field's own condition.
 */

import { getFacets } from "./api.js";
import { toNarrowing, without } from "./filters.js";

/** @import { Field } from "./api.js" */
/** @import { Conditions } from "./filters.js" */

/**
 * @param {Conditions} conditions
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>} the label first
 */
export async function countedFields(conditions, signal) {
  const narrowed = Object.keys(conditions).filter((name) => !name.startsWith("$"));
  const [all, ...own] = await Promise.all([
    fields(conditions, signal),
    ...narrowed.map((name) => fields(without(conditions, name), signal)),
  ]);
  const counted = new Map(all.map((field) => [field.name, field]));
  narrowed.forEach((name, place) => {
    const field = own[place].find((one) => one.name === name);
    if (field) counted.set(name, field);
  });
  return [...counted.values()].filter(({ type }) => type !== "other");
}

/**
 * @param {Conditions} conditions
 * @param {AbortSignal} signal
 * @returns {Promise<Field[]>}
 */
async function fields(conditions, signal) {
  const { label, filter } = toNarrowing(conditions);
  const found = await getFacets(label, filter, signal);
  const usable = found.fields.filter(({ name }) => !["label", "key"].includes(name) && !name.startsWith("$"));
  if (!found.labels.length) return usable;
  const { labels } = found;
  return [
    { name: "label", type: "text", values: labels, distinct: labels.length, min: null, max: null },
    ...usable,
  ];
}
