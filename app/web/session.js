/**
 * The key that the browser shows the service with every request, in a cookie that no script can read.
 *
 * A second cookie says that there is one: it comes and goes with the first, when the browser is closed too. Knows
 * nothing of the page.
 */

import { COOKIE_PATH } from "./base.js";
import { reach, refusal } from "./reach.js";

const SIGN = "lookalike_key_given";

/**
 * Shows the service a key, which the browser then keeps.
 *
 * @param {string} key
 */
export async function openSession(key) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const response = await reach("session", { method: "POST", body: JSON.stringify({ key }), headers });
  if (!response.ok) throw await refusal(response);
  document.cookie = `${SIGN}=yes; path=${COOKIE_PATH}; samesite=strict`;
}

/** Has the browser forget the key. */
export async function closeSession() {
  const response = await reach("session", { method: "DELETE" });
  if (!response.ok) throw await refusal(response);
  loseSign();
}

/** What the sign is of is gone, or was no key. */
export function loseSign() {
  document.cookie = `${SIGN}=; path=${COOKIE_PATH}; samesite=strict; max-age=0`;
}

/** Tells whether the page works with a key. */
export function hasKey() {
  return document.cookie.split("; ").includes(`${SIGN}=yes`);
}
