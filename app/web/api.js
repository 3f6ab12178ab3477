/** The service's public API, as functions that return its answers. Knows nothing of the page. */

import { toParameters } from "./asked.js";
import { request, requestJson } from "./http.js";

/** @import { Asked } from "./asked.js" */

/**
 * @typedef {object} Picture
 * @property {number} id
 * @property {string} key
 * @property {string | null} label
 * @property {Record<string, unknown>} metadata
 * @property {number} width of the upright picture, in pixels
 * @property {number} height
 * @property {string} image_url
 * @property {string} thumbnail_url
 */

/** @typedef {{coarse_rank: number | null, code: string, differing_bits: number[]}} Explanation */

/**
 * @typedef {object} Found
 * @property {number} distance
 * @property {number} hamming
 * @property {number | null} similarity
 * @property {Explanation} explanation
 */

/** @typedef {Picture & Found} Match */

/**
 * @typedef {object} Answer
 * @property {string} mode
 * @property {string} code of the query, hexadecimal
 * @property {number} pool_size
 * @property {number} catalogue_size
 * @property {Match[]} results
 * @property {string[]} warnings
 * @property {Record<string, number>} timings_ms
 */

/** @typedef {{value: string | number | boolean, count: number}} Count */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"text" | "number" | "boolean" | "other"} type
 * @property {Count[]} values the most frequent
 * @property {number} distinct
 * @property {number | null} min
 * @property {number | null} max
 */

/** @typedef {{items: Picture[], next_cursor: string | null, warnings: string[]}} PicturePage */

/** @typedef {{status: "created" | "updated" | "unchanged" | "rejected", error_code: string | null, error: string | null}} Added */

/** @typedef {{label: string | null, metadata: Record<string, unknown>}} Patch */

const MOST_RESULTS = 1000;

/**
 * @param {Blob} file
 * @param {string | null} crop
 * @param {Asked} asked
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export function searchByFile(file, crop, asked, signal) {
  const parameters = toParameters(asked);
  parameters.set("explain", "true");
  if (crop) parameters.set("crop", crop);
  const body = new FormData();
  body.append("image", file);
  return requestJson(`search?${parameters}`, { method: "POST", body, signal });
}

/**
 * @param {string} id
 * @param {Asked} asked
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export function searchById(id, asked, signal) {
  const parameters = toParameters(asked);
  parameters.set("explain", "true");
  return requestJson(`images/${id}/similar?${parameters}`, { signal });
}

/**
 * Asks for one result more: the picture itself, which is found first.
 *
 * @param {Asked} asked
 */
export function withItself(asked) {
  return asked.k === MOST_RESULTS ? asked : { ...asked, k: asked.k + 1 };
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
 * @param {Asked} asked whose label and filter say which
 * @param {number} limit
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<PicturePage>}
 */
export function listPictures({ label, filter }, limit, cursor, signal) {
  return requestJson(`images?${given({ limit, cursor, label, filter })}`, { signal });
}

/**
 * @param {string | null} label
 * @param {string | null} filter
 * @param {AbortSignal} [signal]
 * @returns {Promise<{labels: Count[], fields: Field[]}>}
 */
export function getFacets(label, filter, signal) {
  return requestJson(`facets?${given({ label, filter })}`, { signal });
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<{images: number}>}
 */
export function getStats(signal) {
  return requestJson("stats", { signal });
}

/**
 * @param {{file: File, about: Record<string, unknown>}[]} pictures
 * @returns {Promise<Added[]>} what became of each
 */
export async function addPictures(pictures) {
  const body = new FormData();
  body.append("metadata", JSON.stringify(pictures.map(({ about }) => about)));
  for (const { file } of pictures) body.append("images", file);
  const { items } = await requestJson("index", { method: "POST", body });
  return items;
}

/**
 * @param {number} id
 * @param {Partial<Patch>} patch where null in the metadata takes a field away
 */
export function describePicture(id, patch) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return requestJson(`images/${id}`, { method: "PATCH", body: JSON.stringify(patch), headers });
}

/** @param {number} id */
export function deletePicture(id) {
  return request(`images/${id}`, { method: "DELETE" });
}

/**
 * @param {Record<string, string | number | null>} values
 * @returns {URLSearchParams} of those that are not null
 */
function given(values) {
  const entries = Object.entries(values).filter(([, value]) => value !== null);
  return new URLSearchParams(entries.map(([name, value]) => [name, String(value)]));
}
