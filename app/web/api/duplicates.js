/** Client for decisions about duplicates. Independent of the page. */

import { jsonBody } from "./fetch.js";
import { requestJson } from "./request.js";

/**
 * @typedef {object} Merged
 * @property {{label: string | null, metadata: Record<string, unknown>}} added what the kept picture took over
 * @property {number} deleted
 * @property {number | null} deletion_id null if the others are deleted for good
 */

/**
 * Remember that pictures are not the same: no two of them are listed as duplicates any more.
 *
 * @param {number[]} ids
 */
export function markDistinct(ids) {
  return send("POST", "duplicates/distinct", { ids });
}

/** @param {number[]} ids */
export function unmarkDistinct(ids) {
  return send("DELETE", "duplicates/distinct", { ids });
}

/**
 * Move duplicates to the trash, and add the fields that the kept picture lacks to it.
 *
 * @param {number} keep
 * @param {number[]} others
 * @returns {Promise<Merged>}
 * @throws {HttpError} 409 if one of them does not exist any more
 */
export function mergeDuplicates(keep, others) {
  return send("POST", "duplicates/merge", { keep, merge: others });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 */
function send(method, path, body) {
  return requestJson(path, { method, ...jsonBody(body) });
}
