/**
 * Parse and build the page's URLs: `/`, `/?id=17`, `/?upload=…`, `/?duplicates=exact` below `BASE`, with the crop, further
 * examples, the picture in the panel, and the query parameters.
 *
 * Also computes breadcrumbs: the searches that led to the current one. Independent of the DOM and the API.
 */

import { BASE } from "../common/base-url.js";
import { UserError } from "../common/errors.js";
import { nonDefaults, readQuery } from "../search/query.js";

/** @import { DuplicateKind } from "../api/client.js" */
/** @import { Query } from "../search/query.js" */

/**
 * @typedef {object} Source the query image and further examples, or the list of duplicates
 * @property {string | null} id
 * @property {string | null} upload
 * @property {string | null} crop
 * @property {string[]} [like] ids of further examples
 * @property {string[]} [unlike] ids of pictures that the results should not resemble
 * @property {DuplicateKind | null} [duplicates]
 * @property {boolean} [trash] the trash in place of a search
 */

/** @typedef {Source & {query: Query, open?: string | null}} Route `open` is the id of the picture in the panel */

/** @typedef {Source & {title: string, thumbnail: string}} Crumb */

/** @typedef {(source: Source) => string} UrlOf returns the URL of an image's search with the current query */

const MAX_CRUMBS = 8;
const MAX_EXAMPLES = 16;

/** @type {Source} */
export const NO_SOURCE = { id: null, upload: null, crop: null };

/**
 * @param {string} search the URL's query string, with its question mark
 * @returns {Route}
 */
export function readRoute(search) {
  const params = new URLSearchParams(search);
  const upload = params.get("upload");
  const [id = null] = ids(params.get("id"));
  const [first = null, ...others] = ids(params.get("like"));
  const unlike = ids(params.get("unlike"));
  /** @type {Source} */
  let source = { id, upload, crop: params.get("crop"), like: first ? [first, ...others] : [], unlike };
  if (!id && !upload) source = { ...source, id: first, like: others, unlike: first ? unlike : [] };
  const duplicates = toDuplicateKind(params.get("duplicates"));
  const [open = null] = ids(params.get("open"));
  return { ...source, duplicates, trash: params.has("trash"), open, query: readQuery(params) };
}

/**
 * @param {Route} route
 * @returns {string}
 */
export function routeUrl({ id, upload, crop, like = [], unlike = [], duplicates, trash, open, query }) {
  const params = new URLSearchParams();
  if (id) params.set("id", id);
  else if (upload) params.set("upload", upload);
  else if (duplicates) params.set("duplicates", duplicates);
  else if (trash) params.set("trash", "1");
  if (id || upload) {
    if (crop) params.set("crop", crop);
    if (like.length) params.set("like", like.join(","));
    if (unlike.length) params.set("unlike", unlike.join(","));
  }
  for (const [name, value] of nonDefaults(query)) params.set(name, value);
  if (open) params.set("open", open);
  return `${BASE.pathname}${params.toString() && "?"}${params}`;
}

/**
 * @param {string | null} text ids, separated by commas
 * @returns {string[]} without anything that is no id
 */
function ids(text) {
  return (text ?? "").split(",").filter((id) => /^\d+$/.test(id));
}

/**
 * Whether two routes differ in nothing but the picture in the panel.
 *
 * @param {Route} one
 * @param {Route} other
 */
export function isSameView(one, other) {
  return routeUrl({ ...one, open: null }) === routeUrl({ ...other, open: null });
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

/**
 * @param {Route} route
 * @param {string} id
 * @param {"like" | "unlike" | null} kind null to remove the example
 * @returns {Route} with the picture as an example of this kind and of no other
 * @throws {UserError} there are too many examples
 */
export function withExample(route, id, kind) {
  const [like, unlike] = [route.like, route.unlike].map((given = []) => given.filter((other) => other !== id));
  if (kind && like.length + unlike.length + 2 > MAX_EXAMPLES)
    throw new UserError(`A search takes at most ${MAX_EXAMPLES} examples. Remove one first.`);
  if (kind) (kind === "like" ? like : unlike).push(id);
  return { ...route, like, unlike, open: null };
}
