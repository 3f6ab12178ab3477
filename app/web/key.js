/**
 * Asks for an API key, where the service wants one.
 *
 * However many requests meet the locked door, the question stands once.
 */

import { byId } from "./dom.js";
import { ReadableError } from "./errors.js";
import { openSession } from "./session.js";

/** @type {Promise<boolean> | null} */
let asking = null;

/**
 * @param {string} why a sentence where there was a key already
 * @returns {Promise<boolean>} whether a key was taken
 */
export function askForKey(why) {
  asking ??= ask(why).finally(() => {
    asking = null;
  });
  return asking;
}

/**
 * @param {string} why
 * @returns {Promise<boolean>}
 */
function ask(why) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("key-dialog"));
  const input = /** @type {HTMLInputElement} */ (byId("key"));
  const message = byId("key-message");
  message.textContent = why;
  dialog.returnValue = "";
  byId("no-key").onclick = () => dialog.close();
  dialog.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await openSession(input.value);
      dialog.close("taken");
    } catch (error) {
      message.textContent = error instanceof ReadableError ? error.message : String(error);
      input.select();
    }
  };
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      input.value = "";
      resolve(dialog.returnValue === "taken");
    };
  });
}
