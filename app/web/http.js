/**
 * One request to the service, and what its refusals mean to a person.
 *
 * Every failure becomes a `ReadableError`, except that an aborted request stays an `AbortError`. Where the
 * service wants a key, it is asked for once and the request sent again. Knows nothing of the page.
 */

import { ReadableError } from "./errors.js";
import { askForKey } from "./key.js";

/** @typedef {{title?: string, detail?: string, errors?: {field: string, reason: string}[]}} Problem */

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
export async function request(path, init) {
  const response = await reach(path, init);
  if (response.status === 401) {
    await askForKey(openSession);
    return request(path, init);
  }
  if (!response.ok) throw new ReadableError(await problemSentence(response));
  return response;
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
