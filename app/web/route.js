/**
 * What the page shows, as its address says it: `/`, `/?id=17`, `/?upload=…`, each with a `mode` if it is not
 * `hds`.
 *
 * Also the trail: the searches that led to this one. Knows nothing of the DOM or the API.
 */

/** @typedef {"hds" | "bcs" | "es"} Mode */

/** @typedef {{id: string | null, upload: string | null, mode: Mode}} Route */

/** @typedef {{id: string | null, upload: string | null, title: string, thumbnail: string}} Step */

/** @typedef {(query: {id: string | null, upload: string | null}) => string} UrlOf the mode stays as it is */

const LONGEST_TRAIL = 8;

/**
 * @param {string} search the address from its question mark on
 * @returns {Route}
 */
export function readRoute(search) {
  const given = new URLSearchParams(search);
  const id = given.get("id") ?? "";
  return { id: /^\d+$/.test(id) ? id : null, upload: given.get("upload"), mode: toMode(given.get("mode")) };
}

/**
 * @param {Route} route
 * @returns {string}
 */
export function routeUrl({ id, upload, mode }) {
  const parts = new URLSearchParams();
  if (id) parts.set("id", id);
  else if (upload) parts.set("upload", upload);
  if (mode !== "hds") parts.set("mode", mode);
  return `/${parts.toString() && "?"}${parts}`;
}

/**
 * @param {string | null} name
 * @returns {Mode}
 */
export function toMode(name) {
  return name === "bcs" || name === "es" ? name : "hds";
}

/** @param {Route} route */
export function isSearch({ id, upload }) {
  return id !== null || upload !== null;
}

/**
 * The trail that leads to a search: the steps so far, cut where they have been at that search before.
 *
 * @param {Step[]} walked
 * @param {Route} next
 * @returns {Step[]}
 */
export function trailTo(walked, next) {
  if (!isSearch(next)) return [];
  const before = walked.findIndex(({ id, upload }) => id === next.id && upload === next.upload);
  return (before === -1 ? walked : walked.slice(0, before)).slice(-LONGEST_TRAIL);
}
