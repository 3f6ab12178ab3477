/**
 * Requests to the service, in the person's name.
 *
 * Every failure becomes a `ReadableError`, except that an aborted request stays an `AbortError`. Where the service
 * wants a key, or another one, it is asked for and the request sent again. Knows nothing of the page.
 */

import { Refusal } from "./errors.js";
import { askForKey } from "./key.js";
import { reach, refusal } from "./reach.js";
import { loseSign } from "./session.js";

const UNAUTHORIZED = "unauthorized";
const INSUFFICIENT_SCOPE = "insufficient_scope";
const NO_KEY = "Without a key this catalogue cannot be searched.";
const NOT_KEPT =
  "The key was taken, and yet the service asks for one again. Does this browser keep the cookies of this page?";

/**
 * @param {string} path
 * @param {RequestInit} init
 * @returns {Promise<any>} the answer's JSON
 */
export async function requestJson(path, init) {
  const response = await request(path, init);
  return response.json();
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
export function request(path, init) {
  return send(path, init, false);
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @param {boolean} again whether a key was taken for it
 * @returns {Promise<Response>}
 */
async function send(path, init, again) {
  const response = await reach(path, init);
  if (response.ok) return response;
  const refused = await refusal(response);
  if (refused.code === UNAUTHORIZED) {
    loseSign();
    if (again) throw new Refusal(NOT_KEPT, refused.status, refused.code);
    if (!(await askForKey(""))) throw new Refusal(NO_KEY, refused.status, refused.code);
  } else {
    const anotherKeyMay = refused.code === INSUFFICIENT_SCOPE;
    if (!anotherKeyMay || !(await askForKey(refused.message))) throw refused;
  }
  return send(path, init, true);
}
