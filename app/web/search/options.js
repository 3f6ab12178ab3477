/** Search options that sliders set: their steps and texts. Independent of the DOM. */

import { formatPercent, pluralise } from "../common/format.js";

/** @import { SearchResponse } from "../api/client.js" */
/** @import { Query } from "./query.js" */

/**
 * @typedef {object} SearchOption
 * @property {"k" | "pool" | "radius" | "min_similarity"} name
 * @property {string} title
 * @property {string} hint
 * @property {(response: SearchResponse) => (number | null)[]} steps from left to right; null means no limit
 * @property {(value: number | null) => string} text
 * @property {(response: SearchResponse) => boolean} isAvailable whether the option affects this search
 */

const BITS_PER_HEX_DIGIT = 4;
const RESULT_COUNTS = [1, 6, 12, 24, 48, 100, 200, 500, 1000];
const POOLS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000];
const SIMILARITIES = Array.from({ length: 19 }, (_, step) => (step + 1) / 20);

/** @type {SearchOption[]} */
export const OPTIONS = [
  {
    name: "k",
    title: "Results",
    hint: "Maximum number of results.",
    steps: () => RESULT_COUNTS,
    text: (value) => pluralise(value ?? 0, "result"),
    isAvailable: () => true,
  },
  {
    name: "pool",
    title: "Candidates",
    hint: "Maximum number of candidates to rank by features. Higher is more accurate and slower.",
    steps: ({ catalogue_size: size }) => [null, ...POOLS.filter((pool) => pool < size)],
    text: (value) => (value === null ? "Automatic" : `at most ${pluralise(value, "candidate")}`),
    isAvailable: ({ mode }) => mode === "hds",
  },
  {
    name: "radius",
    title: "Code distance",
    hint: "Maximum code distance. Lower is stricter.",
    steps: ({ code }) => [
      ...Array.from({ length: BITS_PER_HEX_DIGIT * code.length }, (_, bits) => bits),
      null,
    ],
    text: (value) => (value === null ? "No limit" : `code distance at most ${value}`),
    isAvailable: ({ mode }) => mode !== "es",
  },
  {
    name: "min_similarity",
    title: "Similarity",
    hint: "Minimum similarity. Higher is stricter.",
    steps: () => [null, ...SIMILARITIES],
    text: (value) => (value === null ? "No limit" : `at least ${formatPercent(value)} similar`),
    isAvailable: ({ results }) => results.every(({ similarity }) => similarity !== null),
  },
];

/**
 * Return an option's steps, with the query's value inserted in order if it is not a step.
 *
 * @param {SearchOption} option
 * @param {Query} query
 * @param {SearchResponse} response
 * @returns {(number | null)[]}
 */
export function stepsWithValue({ name, steps }, query, response) {
  const all = steps(response);
  const value = query[name];
  if (all.includes(value)) return all;
  const next = all.findIndex((step) => step !== null && step > Number(value));
  return all.toSpliced(next === -1 ? all.length - (all.at(-1) === null ? 1 : 0) : next, 0, value);
}
