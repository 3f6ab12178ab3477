/**
 * Search parameters apart from the image, named as in the API; the page's URL carries those that are not defaults.
 *
 * Values are validated by the service. Independent of the DOM.
 */

/** @typedef {"hds" | "bcs" | "es"} Mode */

/**
 * @typedef {object} Query
 * @property {Mode} mode
 * @property {number} k
 * @property {number | null} pool
 * @property {number | null} radius
 * @property {number | null} min_similarity 0 to 1
 * @property {string | null} group_by
 * @property {string | null} label
 * @property {string | null} filter as JSON
 * @property {string | null} text words to find in the key, the label and the metadata
 * @property {string | null} sort the order; null for the default one
 */

/** @type {Readonly<Query>} */
export const DEFAULTS = Object.freeze({
  mode: "hds",
  k: 24,
  pool: null,
  radius: null,
  min_similarity: null,
  group_by: null,
  label: null,
  filter: null,
  text: null,
  sort: null,
});

/**
 * @param {URLSearchParams} params of the page's URL
 * @returns {Query}
 */
export function readQuery(params) {
  return {
    mode: toMode(params.get("mode")),
    k: toNumber(params.get("k")) ?? DEFAULTS.k,
    pool: toNumber(params.get("pool")),
    radius: toNumber(params.get("radius")),
    min_similarity: toNumber(params.get("min_similarity")),
    group_by: params.get("group_by") || null,
    label: params.get("label"),
    filter: params.get("filter") || null,
    text: params.get("text") || null,
    sort: params.get("sort") || null,
  };
}

/**
 * Whether the query is limited to some of the pictures.
 *
 * @param {Pick<Query, "label" | "filter" | "text">} query
 */
export function isFiltered({ label, filter, text }) {
  return [label, filter, text].some((part) => part !== null);
}

/**
 * @param {Query} query
 * @returns {[string, string][]} names and values that differ from the defaults
 */
export function nonDefaults(query) {
  return Object.entries(query)
    .filter(([name, value]) => value !== null && value !== DEFAULTS[/** @type {keyof Query} */ (name)])
    .map(([name, value]) => [name, String(value)]);
}

/**
 * @param {Query} query
 * @returns {URLSearchParams} the parameters of a search, without `sort`: the page sorts only the catalogue
 */
export function toParameters(query) {
  return new URLSearchParams({
    mode: query.mode,
    k: String(query.k),
    ...Object.fromEntries(nonDefaults({ ...query, sort: null })),
  });
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
