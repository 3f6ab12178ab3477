/**
 * Parse and build the page's URLs: `/`, `/?id=17`, `/?upload=…`, `/?duplicates=exact` below `BASE`, with the crop and the
 * query parameters.
 *
 * Also computes breadcrumbs: the searches that led to the current one. Independent of the DOM and the API.
 */

import { BASE } from "../common/base-url.js";
import { nonDefaults, readQuery } from "../search/query.js";

/** @import { DuplicateKind } from "../api/client.js" */
/** @import { Query } from "../search/query.js" */

/**
 * @typedef {object} Source the query image, or the list of duplicates
 * @property {string | null} id
 * @property {string | null} upload
 * @property {string | null} crop
 * @property {DuplicateKind | null} [duplicates]
 * @property {boolean} [trash] the trash in place of a search
 */

/** @typedef {Source & {query: Query}} Route */

/** @typedef {Source & {title: string, thumbnail: string}} Crumb */

/** @typedef {(source: Source) => string} UrlOf returns the URL of an image's search with the current query */

const MAX_CRUMBS = 8;

/** @type {Source} */
export const NO_SOURCE = { id: null, upload: null, crop: null };

/**
 * @param {string} search the URL's query string, with its question mark
 * @returns {Route}
 */
export function readRoute(search) {
  const params = new URLSearchParams(search);
  const id = params.get("id") ?? "";
  const source = { id: /^\d+$/.test(id) ? id : null, upload: params.get("upload"), crop: params.get("crop") };
  return { ...source, duplicates: toDuplicateKind(params.get("duplicates")), trash: params.has("trash"), query: readQuery(params) };
}

/**
 * @param {Route} route
 * @returns {string}
 */
export function routeUrl({ id, upload, crop, duplicates, trash, query }) {
  const params = new URLSearchParams();
  if (id) params.set("id", id);
  else if (upload) params.set("upload", upload);
  else if (duplicates) params.set("duplicates", duplicates);
  else if (trash) params.set("trash", "1");
  if (crop && (id || upload)) params.set("crop", crop);
  for (const [name, value] of nonDefaults(query)) params.set(name, value);
  return `${BASE.pathname}${params.toString() && "?"}${params}`;
}

/** @param {Source} source */
export function isSearch({ id, upload }) {
  return id !== null || upload !== null;
}

/**
 * Return the breadcrumbs of a search: the path so far, cut at an earlier visit to the same picture.
 *
 * @param {Crumb[]} path
 * @param {Source} target
 * @returns {Crumb[]}
 */
export function breadcrumbsTo(path, target) {
  if (!isSearch(target)) return [];
  const visited = path.findIndex(({ id, upload }) => id === target.id && upload === target.upload);
  return (visited === -1 ? path : path.slice(0, visited)).slice(-MAX_CRUMBS);
}

/**
 * @param {string | null} name
 * @returns {DuplicateKind | null}
 */
function toDuplicateKind(name) {
  return name === "exact" || name === "near" ? name : null;
}
