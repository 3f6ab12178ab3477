/** Client for the parts of the API that act on many pictures, and for the trash. Independent of the page. */

import { BASE } from "../common/base-url.js";
import { parseJson } from "../common/json.js";
import { jsonBody } from "./fetch.js";
import { request, requestJson } from "./request.js";

/** @import { Picture } from "./client.js" */

/**
 * @typedef {object} Matching all pictures that match; `count` of them were seen
 * @property {string | null} label
 * @property {string | null} filter as JSON
 * @property {string | null} text
 * @property {number} count
 */

/** @typedef {{ids: number[], matching: Matching | null, count: number}} Selected all that match, or those with the ids */

/** @typedef {{set_label?: string | null, metadata?: Record<string, unknown>}} Change null removes a label or a field */

/** @typedef {Picture & {deletion_id: number, deleted_at: string, expires_at: string}} TrashedPicture */

/**
 * Change the label or fields of all selected pictures, or of none.
 *
 * @param {Selected} selected
 * @param {Change} change
 * @returns {Promise<{changed: number}>}
 * @throws {HttpError} 409 if the selection has changed meanwhile
 */
export function updateSelected(selected, change) {
  return post("images/update", { ...toBody(selected), ...change });
}

/**
 * Move all selected pictures to the trash, or none.
 *
 * @param {Selected} selected
 * @returns {Promise<{deleted: number, deletion_id: number | null}>}
 * @throws {HttpError} 409 if the selection has changed meanwhile
 */
export function deleteSelected(selected) {
  return post("images/delete", toBody(selected));
}

/**
 * @param {Selected} selected
 * @param {"jsonl" | "csv"} format
 * @returns {string} the URL of the file
 */
export function exportUrl({ ids, matching }, format) {
  const params = new URLSearchParams({ format });
  if (matching) {
    for (const [name, value] of Object.entries(criteria(matching))) params.set(name, value);
  } else params.set("ids", ids.join(","));
  return new URL(`images/export?${params}`, BASE).href;
}

/**
 * Check that the service exports a file: request it, and end the response after its head, which follows the checks.
 *
 * @param {string} url
 * @param {AbortSignal} signal
 * @throws {UserError} the service does not respond, or refuses the export
 */
export async function checkExport(url, signal) {
  const response = await request(url, { signal });
  await response.body?.cancel();
}

/**
 * Undo a deletion.
 *
 * @param {number} deletion
 */
export function restoreDeletion(deletion) {
  return post("trash/restore", { deletion_id: deletion });
}

/**
 * @param {number} limit
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<{items: TrashedPicture[], next_cursor: string | null}>} newest first
 */
export function listTrash(limit, cursor, signal) {
  const params = new URLSearchParams({ limit: String(limit), ...(cursor ? { cursor } : {}) });
  return requestJson(`trash?${params}`, { signal });
}

/** Delete everything in the trash for good. */
export function emptyTrash() {
  return requestJson("trash", { method: "DELETE" });
}

/** @param {Selected} selected */
function toBody({ ids, matching, count }) {
  if (!matching) return { ids, expected: count };
  const { filter, ...others } = criteria(matching);
  return { filter: filter ? parseJson(filter) : {}, ...others, expected: count };
}

/**
 * @param {Matching} matching
 * @returns {Record<string, string>}
 */
function criteria({ label, filter, text }) {
  return Object.fromEntries(Object.entries({ label, filter, text }).filter(([, value]) => value !== null));
}

/**
 * @param {string} path
 * @param {Record<string, unknown>} body
 */
function post(path, body) {
  return requestJson(path, { method: "POST", ...jsonBody(body) });
}
