/** Client for decisions about duplicates. Independent of the page. */

import { stringifyJson } from "../common/json.js";
import { request } from "./request.js";

const HEADERS = { "Content-Type": "application/json", Accept: "application/json" };

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
  return request(path, { method, body: stringifyJson(body), headers: HEADERS });
}
