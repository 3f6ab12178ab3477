/**
 * The service's public API, as functions that return its answers.
 *
 * Every failure becomes a `ReadableError`, except that an aborted request stays an `AbortError`. Knows
 * nothing of the page.
 */

import { ReadableError } from "./errors.js";
import { askForKey } from "./key.js";

/**
 * @typedef {object} Picture
 * @property {number} id
 * @property {string} key
 * @property {string | null} label
 * @property {Record<string, unknown>} metadata
 * @property {string} image_url
 * @property {string} thumbnail_url
 */

/** @typedef {Picture & {distance: number, hamming: number}} Match */

/**
 * @typedef {object} Answer
 * @property {string} mode
 * @property {number} catalogue_size
 * @property {Match[]} results
 * @property {Record<string, number>} timings_ms
 */

/** @typedef {{title?: string, detail?: string, errors?: {field: string, reason: string}[]}} Problem */

const RESULTS = 24;

/**
 * @param {Blob} file
 * @param {string} mode
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export function searchByFile(file, mode, signal) {
  const body = new FormData();
  body.append("image", file);
  return request(`/search?k=${RESULTS}&mode=${mode}`, { method: "POST", body, signal });
}

/**
 * @param {string} id
 * @param {string} mode
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export function searchById(id, mode, signal) {
  const withItself = RESULTS + 1;
  return request(`/images/${id}/similar?k=${withItself}&mode=${mode}`, { signal });
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<Picture>}
 */
export function getPicture(id, signal) {
  return request(`/images/${id}`, { signal });
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<{items: Picture[]}>}
 */
export function listPictures(signal) {
  return request(`/images?limit=${RESULTS}`, { signal });
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<{images: number}>}
 */
export function getStats(signal) {
  return request("/stats", { signal });
}

/**
 * Shows the service a key, which the browser then keeps in a cookie.
 *
 * @param {string} key
 */
async function openSession(key) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const response = await reach("/session", { method: "POST", body: JSON.stringify({ key }), headers });
  if (!response.ok) throw new ReadableError(await problemSentence(response));
}

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function request(path, init) {
  const response = await reach(path, init);
  if (response.status === 401) {
    await askForKey(openSession);
    return request(path, init);
  }
  if (!response.ok) throw new ReadableError(await problemSentence(response));
  return response.json();
}

/**
 * @param {string} path
 * @param {RequestInit} init
 */
async function reach(path, init) {
  try {
    return await fetch(path, { headers: { Accept: "application/json" }, ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ReadableError("The service does not answer. Is it still running?");
  }
}

/** @param {Response} response */
async function problemSentence(response) {
  /** @type {Problem} */
  const problem = await response.json().catch(() => ({}));
  const sentence = problem.detail || problem.title || `The service answered with status ${response.status}.`;
  const more = (problem.errors ?? []).filter(({ reason }) => !sentence.includes(reason));
  return [sentence, ...more.map(({ field, reason }) => `${field}: ${reason}`)].join(" ");
}
