/** Send one HTTP request and convert error responses to `HttpError`. Independent of API keys. */

import { BASE } from "../common/base-url.js";
import { HttpError, UserError } from "../common/errors.js";
import { stringifyJson } from "../common/json.js";
import { upload } from "./upload.js";

/** @typedef {{title?: string, code?: string, detail?: string, errors?: {field: string, reason: string}[]}} Problem */

/**
 * @param {string} path relative to the service's base URL, such as `stats`, or a URL from a response
 * @param {RequestInit & {onProgress?: (sent: number) => void}} init `onProgress` gets the share of the body that is sent
 * @returns {Promise<Response>} with any status
 */
export async function fetchResponse(path, { onProgress, ...init }) {
  const whole = { headers: { Accept: "application/json" }, ...init };
  try {
    const url = new URL(path, BASE);
    return await (onProgress ? upload(url, whole, onProgress) : fetch(url, whole));
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new UserError("The service does not respond. Check that it is running.");
  }
}

/**
 * Return the parts of a request that sends a value as JSON.
 *
 * @param {unknown} value
 */
export function jsonBody(value) {
  return { body: stringifyJson(value), headers: { "Content-Type": "application/json", Accept: "application/json" } };
}

/**
 * @param {Response} response
 * @returns {Promise<HttpError>}
 */
export async function toHttpError(response) {
  /** @type {Problem} */
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail || problem.title || `The service responded with status ${response.status}.`;
  const fields = (problem.errors ?? []).filter(({ reason }) => !detail.includes(reason));
  const message = [detail, ...fields.map(({ field, reason }) => `${field}: ${reason}`)].join(" ");
  return new HttpError(message, response.status, problem.code ?? "", problem.errors);
}
