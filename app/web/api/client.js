/** Client for the public API: one function per endpoint. Independent of the page. */

import { stringifyJson } from "../common/json.js";
import { toParameters } from "../search/query.js";
import { jsonBody } from "./fetch.js";
import { request, requestJson } from "./request.js";

/** @import { Query } from "../search/query.js" */

/**
 * @typedef {object} Stats
 * @property {number} images
 * @property {{adapted: boolean}} model
 * @property {{before: {codes: number}, after: {codes: number}} | null} adaptation
 * @property {{name: string, command: string, estimated_seconds: number} | null} better_model
 */

/**
 * @typedef {object} Picture
 * @property {number} id
 * @property {string} key
 * @property {string | null} label
 * @property {Record<string, unknown>} metadata
 * @property {number} width in pixels, after EXIF rotation
 * @property {number} height
 * @property {string} created_at ISO 8601
 * @property {string} image_url
 * @property {string} thumbnail_url
 */

/** @typedef {{coarse_rank: number | null, code: string, differing_bits: number[]}} Explanation */

/**
 * @typedef {object} MatchDetails
 * @property {number} distance
 * @property {number} hamming
 * @property {number | null} similarity
 * @property {string | null} similarity_band
 * @property {Explanation} explanation
 */

/** @typedef {Picture & MatchDetails} Match */

/**
 * @typedef {object} SearchResponse
 * @property {string} mode
 * @property {string} code of the query, hexadecimal
 * @property {number} pool_size
 * @property {number} catalogue_size
 * @property {Match[]} results
 * @property {string[]} warnings
 * @property {Record<string, number>} timings_ms
 */

/** @typedef {{value: string | number | bigint | boolean, count: number}} Count */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"text" | "number" | "boolean" | "other"} type
 * @property {Count[]} values most frequent first
 * @property {number} distinct
 * @property {number | bigint | null} min
 * @property {number | bigint | null} max
 */

/**
 * @typedef {object} PicturePage
 * @property {Picture[]} items
 * @property {number | null} [total] number of matching pictures, on the first page
 * @property {string | null} next_cursor
 * @property {string[]} warnings
 */

/** @typedef {"exact" | "near"} DuplicateKind */

/** @typedef {{image: Picture, duplicates: Picture[], complete: boolean}} DuplicateGroup */

/** @typedef {{groups: DuplicateGroup[], next_cursor: string | null}} DuplicatePage */

/**
 * @typedef {object} AddResult
 * @property {"created" | "updated" | "unchanged" | "rejected"} status
 * @property {number | null} id
 * @property {string | null} error_code
 * @property {string | null} error
 * @property {string[]} warnings
 */

/** @typedef {{label: string | null, metadata: Record<string, unknown>}} Patch */

const MAX_RESULTS = 1000;

/**
 * Search with several examples: an upload or catalogue pictures, and pictures that the results should not resemble.
 *
 * @param {{file: Blob | null, crop: string | null, like: string[], unlike: string[]}} examples ids, and an upload with
 *     its crop
 * @param {Query} query
 * @param {AbortSignal} signal
 * @returns {Promise<SearchResponse>}
 */
export function searchByExamples({ file, crop, like, unlike }, query, signal) {
  const parameters = toParameters(query);
  parameters.set("explain", "true");
  if (!file) {
    const body = jsonBody({ like: like.map(Number), unlike: unlike.map(Number) });
    return requestJson(`search?${parameters}`, { method: "POST", ...body, signal });
  }
  if (crop) parameters.set("crop", crop);
  const body = new FormData();
  body.append("image", file);
  for (const id of like) body.append("like", id);
  for (const id of unlike) body.append("unlike", id);
  return requestJson(`search?${parameters}`, { method: "POST", body, signal });
}

/**
 * @param {string} id
 * @param {Query} query
 * @param {AbortSignal} signal
 * @returns {Promise<SearchResponse>}
 */
export function searchById(id, query, signal) {
  const parameters = toParameters(query);
  parameters.set("explain", "true");
  return requestJson(`images/${id}/similar?${parameters}`, { signal });
}

/**
 * Request further results, because the examples that are in the catalogue are among the matches.
 *
 * @param {Query} query
 * @param {number} count of the examples
 */
export function withMoreResults(query, count) {
  return { ...query, k: Math.max(query.k, Math.min(query.k + count, MAX_RESULTS)) };
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<Picture>}
 */
export function getPicture(id, signal) {
  return requestJson(`images/${id}`, { signal });
}

/**
 * @param {Picture} picture
 * @param {AbortSignal} signal
 */
export async function getOriginal({ image_url: url }, signal) {
  const response = await request(url, { signal });
  return response.blob();
}

/**
 * @param {Query} query only `label`, `filter`, `text` and `sort` are used
 * @param {number} limit
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<PicturePage>}
 */
export function listPictures({ label, filter, text, sort }, limit, cursor, signal) {
  return requestJson(`images?${searchParams({ limit, cursor, label, filter, text, sort })}`, { signal });
}

/**
 * @param {DuplicateKind} kind
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<DuplicatePage>}
 */
export function listDuplicates(kind, cursor, signal) {
  return requestJson(`duplicates?${searchParams({ kind, cursor })}`, { signal });
}

/**
 * @param {{label: string | null, filter: string | null, text: string | null}} filters
 * @param {AbortSignal} [signal]
 * @returns {Promise<{labels: Count[], fields: Field[]}>}
 */
export function getFacets({ label, filter, text }, signal) {
  return requestJson(`facets?${searchParams({ label, filter, text })}`, { signal });
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<Stats>}
 */
export function getStats(signal) {
  return requestJson("stats", { signal });
}

/**
 * @param {{file: File, metadata: Record<string, unknown>}[]} pictures
 * @returns {Promise<AddResult[]>} in the order of the pictures
 */
export async function addPictures(pictures) {
  const body = new FormData();
  body.append("metadata", stringifyJson(pictures.map(({ metadata }) => metadata)));
  for (const { file } of pictures) body.append("images", file);
  const { items } = await requestJson("index", { method: "POST", body });
  return items;
}

/**
 * @param {number} id
 * @param {Partial<Patch>} patch null in the metadata deletes a field
 */
export function updatePicture(id, patch) {
  return requestJson(`images/${id}`, { method: "PATCH", ...jsonBody(patch) });
}

/** @param {number} id */
export function deletePicture(id) {
  return request(`images/${id}`, { method: "DELETE" });
}

/**
 * Undo deletions, while the pictures are in the trash.
 *
 * @param {number[]} ids
 */
export function restorePictures(ids) {
  return requestJson("trash/restore", { method: "POST", ...jsonBody({ ids }) });
}

/**
 * @param {Record<string, string | number | null>} values
 * @returns {URLSearchParams} without null values
 */
function searchParams(values) {
  const entries = Object.entries(values).filter(([, value]) => value !== null);
  return new URLSearchParams(entries.map(([name, value]) => [name, String(value)]));
}
