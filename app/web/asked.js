/**
 * What a search asks for besides its picture, in the API's own names: the page's address says it in the same
 * words, without what is usual.
 *
 * Whether a value can be used is the service's to judge. Knows nothing of the DOM.
 */

/** @typedef {"hds" | "bcs" | "es"} Mode */

/**
 * @typedef {object} Asked
 * @property {Mode} mode
 * @property {number} k
 * @property {number | null} pool
 * @property {number | null} radius
 * @property {number | null} min_similarity 0 to 1
 * @property {string | null} group_by
 * @property {string | null} label
 * @property {string | null} filter as JSON
 */

/** @type {Readonly<Asked>} */
export const USUAL = Object.freeze({
  mode: "hds",
  k: 24,
  pool: null,
  radius: null,
  min_similarity: null,
  group_by: null,
  label: null,
  filter: null,
});

/**
 * @param {URLSearchParams} given
 * @returns {Asked}
 */
export function readAsked(given) {
  return {
    mode: toMode(given.get("mode")),
    k: toNumber(given.get("k")) ?? USUAL.k,
    pool: toNumber(given.get("pool")),
    radius: toNumber(given.get("radius")),
    min_similarity: toNumber(given.get("min_similarity")),
    group_by: given.get("group_by") || null,
    label: given.get("label"),
    filter: given.get("filter") || null,
  };
}

/**
 * @param {Asked} asked
 * @returns {[string, string][]} the parameters of what is not usual
 */
export function unusual(asked) {
  return Object.entries(asked)
    .filter(([name, value]) => value !== null && value !== USUAL[/** @type {keyof Asked} */ (name)])
    .map(([name, value]) => [name, String(value)]);
}

/**
 * @param {Asked} asked
 * @returns {URLSearchParams} everything that the API should be told
 */
export function toParameters(asked) {
  return new URLSearchParams({ mode: asked.mode, k: String(asked.k), ...Object.fromEntries(unusual(asked)) });
}

/**
 * @param {string | null} name
 * @returns {Mode}
 */
export function toMode(name) {
  return name === "bcs" || name === "es" ? name : "hds";
}

/** @param {string | null} text */
function toNumber(text) {
  const number = Number(text);
  return text?.trim() && Number.isFinite(number) ? number : null;
}
