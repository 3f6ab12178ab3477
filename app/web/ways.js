/**
 * The ways in which a search can be tuned, as steps of a slider, and how each is said. Knows nothing of the DOM.
 */

import { counted, percent } from "./dom.js";

/** @import { Answer } from "./api.js" */
/** @import { Asked } from "./asked.js" */

/**
 * @typedef {object} Way
 * @property {"k" | "pool" | "radius" | "min_similarity"} name
 * @property {string} title
 * @property {string} hint what it does
 * @property {(answer: Answer) => (number | null)[]} steps from left to right; null where it does nothing
 * @property {(value: number | null) => string} text
 * @property {(answer: Answer) => boolean} works
 */

const BITS_OF_DIGIT = 4;
const MOST_RESULTS = [1, 6, 12, 24, 48, 100, 200, 500, 1000];
const POOLS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 1_000_000];
const SIMILARITIES = Array.from({ length: 19 }, (_, step) => (step + 1) / 20);

/** @type {Way[]} */
export const WAYS = [
  {
    name: "k",
    title: "Results",
    hint: "How many to show at most.",
    steps: () => MOST_RESULTS,
    text: (value) => counted(value ?? 0, "result"),
    works: () => true,
  },
  {
    name: "pool",
    title: "Candidates",
    hint: "How many of the nearest by code go on to the second step.",
    steps: ({ catalogue_size: size }) => [null, ...POOLS.filter((pool) => pool < size)],
    text: (value) => (value === null ? "as suits the network" : `at most ${counted(value, "candidate")}`),
    works: ({ mode }) => mode === "hds",
  },
  {
    name: "radius",
    title: "Radius",
    hint: "In how many bits the code of a candidate may differ.",
    steps: ({ code }) => [...Array.from({ length: BITS_OF_DIGIT * code.length }, (_, bits) => bits), null],
    text: (value) => (value === null ? "any distance" : `at most ${counted(value, "bit")} apart`),
    works: ({ mode }) => mode !== "es",
  },
  {
    name: "min_similarity",
    title: "Similarity",
    hint: "How similar a picture must be at least.",
    steps: () => [null, ...SIMILARITIES],
    text: (value) => (value === null ? "any" : `at least ${percent(value)} similar`),
    works: ({ results }) => results.every(({ similarity }) => similarity !== null),
  },
];

/**
 * @param {Way} way
 * @param {Asked} asked
 * @param {Answer} answer
 * @returns {(number | null)[]} its steps, and what is asked for among them
 */
export function stepsWith({ name, steps }, asked, answer) {
  const offered = steps(answer);
  const value = asked[name];
  if (offered.includes(value)) return offered;
  const at = offered.findIndex((step) => step !== null && step > Number(value));
  return offered.toSpliced(at === -1 ? offered.length - (offered.at(-1) === null ? 1 : 0) : at, 0, value);
}
