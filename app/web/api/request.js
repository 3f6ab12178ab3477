/**
 * Send API requests and prompt for an API key when one is required.
 *
 * Every failure becomes a `UserError`, except that an aborted request stays an `AbortError`. A request that is
 * refused for want of a key or a scope is sent again with the key that the user enters.
 */

import { HttpError } from "../common/errors.js";
import { parseJson } from "../common/json.js";
import { fetchResponse, toHttpError } from "./fetch.js";
import { promptForKey } from "./key-dialog.js";
import { clearKeyMarker } from "./session.js";

const UNAUTHORIZED = "unauthorized";
const INSUFFICIENT_SCOPE = "insufficient_scope";
const NO_KEY = "This catalogue needs an API key. Reload the page to enter one.";
const KEY_NOT_STORED =
  "The key was accepted, but the browser did not send it with the next request. Allow cookies for this page.";

/**
 * @param {string} path
 * @param {RequestInit & {onProgress?: (sent: number) => void}} init
 * @returns {Promise<any>} the parsed JSON body, with whole numbers unchanged
 */
export async function requestJson(path, init) {
  const response = await request(path, init);
  return parseJson(await response.text());
}

/**
 * @param {string} path
 * @param {RequestInit & {onProgress?: (sent: number) => void}} init
 * @returns {Promise<Response>}
 */
export function request(path, init) {
  return send(path, init, false);
}

/**
 * @param {string} path
 * @param {RequestInit & {onProgress?: (sent: number) => void}} init
 * @param {boolean} keyEntered whether the user has entered a key for this request
 * @returns {Promise<Response>}
 */
async function send(path, init, keyEntered) {
  const response = await fetchResponse(path, init);
  if (response.ok) return response;
  const error = await toHttpError(response);
  if (error.code === UNAUTHORIZED) {
    clearKeyMarker();
    if (keyEntered) throw new HttpError(KEY_NOT_STORED, error.status, error.code);
    if (!(await promptForKey(""))) throw new HttpError(NO_KEY, error.status, error.code);
  } else {
    const otherKeyMayHelp = error.code === INSUFFICIENT_SCOPE;
    if (!otherKeyMayHelp || !(await promptForKey(error.message))) throw error;
  }
  return send(path, init, true);
}
