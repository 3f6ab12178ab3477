/** One request to the service, sent once, and what its refusals mean to a person. Knows nothing of keys. */

import { BASE } from "./base.js";
import { ReadableError, Refusal } from "./errors.js";

/** @typedef {{title?: string, code?: string, detail?: string, errors?: {field: string, reason: string}[]}} Problem */

/**
 * @param {string} path relative to the service's address, such as `stats`; or a URL from one of its answers
 * @param {RequestInit} init
 * @returns {Promise<Response>} whatever its status
 */
export async function reach(path, init) {
  try {
    return await fetch(new URL(path, BASE), { headers: { Accept: "application/json" }, ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ReadableError("The service does not answer. Is it still running?");
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Refusal>}
 */
export async function refusal(response) {
  /** @type {Problem} */
  const problem = await response.json().catch(() => ({}));
  const sentence = problem.detail || problem.title || `The service answered with status ${response.status}.`;
  const more = (problem.errors ?? []).filter(({ reason }) => !sentence.includes(reason));
  const all = [sentence, ...more.map(({ field, reason }) => `${field}: ${reason}`)].join(" ");
  return new Refusal(all, response.status, problem.code ?? "");
}
