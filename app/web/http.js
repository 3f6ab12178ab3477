/**
 * Requests to the service, in the person's name.
 *
 * Every failure becomes a `ReadableError`, except that an aborted request stays an `AbortError`. Where the service
 * wants a key, or another one, it is asked for and the request sent again. Knows nothing of the page.
 */

import { Refusal } from "./errors.js";
import { askForKey } from "./key.js";
import { reach, refusal } from "./reach.js";
import { loseSign, wantsKey } from "./session.js";

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
  if (refused.status === 401) {
    loseSign();
    if (again) throw new Refusal(NOT_KEPT, 401);
    if (!(await askForKey(""))) throw new Refusal(NO_KEY, 401);
  } else {
    const anotherKeyMay = refused.status === 403 && (await wantsKey(init.signal));
    if (!anotherKeyMay || !(await askForKey(refused.message))) throw refused;
  }
  return send(path, init, true);
}
