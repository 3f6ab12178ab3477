/**
 * Open and close the session: the API key in an HttpOnly cookie, which scripts cannot read.
 *
 * A second, readable cookie marks that a key is set. Both are session cookies, so they expire together.
 */

import { COOKIE_PATH } from "../common/base-url.js";
import { fetchResponse, jsonBody, toHttpError } from "./fetch.js";

const MARKER = "lookalike_key_given";

/**
 * Send the key to the service, which sets it as a cookie.
 *
 * @param {string} key
 */
export async function openSession(key) {
  const response = await fetchResponse("session", { method: "POST", ...jsonBody({ key }) });
  if (!response.ok) throw await toHttpError(response);
  scopes = null;
  document.cookie = `${MARKER}=yes; path=${COOKIE_PATH}; samesite=strict`;
}

/** Delete the key's cookie. */
export async function closeSession() {
  const response = await fetchResponse("session", { method: "DELETE" });
  if (!response.ok) throw await toHttpError(response);
  clearKeyMarker();
}

/** Delete the marker, because the key is deleted or was refused. */
export function clearKeyMarker() {
  document.cookie = `${MARKER}=; path=${COOKIE_PATH}; samesite=strict; max-age=0`;
}

/** @type {Promise<string[] | null> | null} */
let scopes = null;

/**
 * @returns {Promise<string[] | null>} the scopes of the browser's key; null without a key, or if they are not known
 */
export function keyScopes() {
  if (!hasKey()) return Promise.resolve(null);
  scopes ??= fetchResponse("session", {})
    .then(async (response) => (response.ok ? (await response.json()).scopes : null))
    .catch(() => (scopes = null)); // asked again the next time
  return scopes;
}

/** Return whether the browser has a key for the service. */
export function hasKey() {
  return document.cookie.split("; ").includes(`${MARKER}=yes`);
}
