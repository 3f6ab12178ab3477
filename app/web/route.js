/**
 * What the page shows, as its address says it: `/`, `/?id=17`, `/?upload=…` below `BASE`, with the part of the
 * picture that is searched with and what else is asked for.
 *
 * Also the trail: the searches that led to this one. Knows nothing of the DOM or the API.
 */

import { readAsked, unusual } from "./asked.js";
import { BASE } from "./base.js";

/** @import { Asked } from "./asked.js" */

/** @typedef {{id: string | null, upload: string | null, crop: string | null}} Source what is searched with */

/** @typedef {Source & {asked: Asked}} Route */

/** @typedef {Source & {title: string, thumbnail: string}} Step */

/** @typedef {(source: Source) => string} UrlOf what is asked for stays as it is */

const LONGEST_TRAIL = 8;

/** @type {Source} */
export const NOTHING = { id: null, upload: null, crop: null };

/**
 * @param {string} search the address from its question mark on
 * @returns {Route}
 */
export function readRoute(search) {
  const given = new URLSearchParams(search);
  const id = given.get("id") ?? "";
  const source = { id: /^\d+$/.test(id) ? id : null, upload: given.get("upload"), crop: given.get("crop") };
  return { ...source, asked: readAsked(given) };
}

/**
 * @param {Route} route
 * @returns {string}
 */
export function routeUrl({ id, upload, crop, asked }) {
  const parts = new URLSearchParams();
  if (id) parts.set("id", id);
  else if (upload) parts.set("upload", upload);
  if (crop && (id || upload)) parts.set("crop", crop);
  for (const [name, value] of unusual(asked)) parts.set(name, value);
  return `${BASE.pathname}${parts.toString() && "?"}${parts}`;
}

/** @param {Source} source */
export function isSearch({ id, upload }) {
  return id !== null || upload !== null;
}

/**
 * The trail that leads to a search: the steps so far, cut where they have been at that picture before.
 *
 * @param {Step[]} walked
 * @param {Source} next
 * @returns {Step[]}
 */
export function trailTo(walked, next) {
  if (!isSearch(next)) return [];
  const before = walked.findIndex(({ id, upload }) => id === next.id && upload === next.upload);
  return (before === -1 ? walked : walked.slice(0, before)).slice(-LONGEST_TRAIL);
}
