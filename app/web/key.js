/**
 * Asks for an API key, where the service wants one.
 *
 * However many requests meet the locked door, the question stands once.
 */

import { ReadableError } from "./errors.js";

/** @type {Promise<void> | null} */
let asking = null;

/**
 * @param {(key: string) => Promise<void>} show tries a key; throws a `ReadableError` where it is none
 * @returns {Promise<void>} settled when a key was taken
 */
export function askForKey(show) {
  asking ??= ask(show).finally(() => {
    asking = null;
  });
  return asking;
}

/**
 * @param {(key: string) => Promise<void>} show
 * @returns {Promise<void>}
 */
function ask(show) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("key-dialog"));
  const input = /** @type {HTMLInputElement} */ (document.getElementById("key"));
  const message = /** @type {HTMLElement} */ (document.getElementById("key-message"));
  message.textContent = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await show(input.value);
        input.value = "";
        dialog.close("taken");
        resolve();
      } catch (error) {
        message.textContent = error instanceof ReadableError ? error.message : String(error);
        input.select();
      }
    };
    dialog.oncancel = () => reject(new ReadableError("Without a key this catalogue cannot be searched."));
  });
}
