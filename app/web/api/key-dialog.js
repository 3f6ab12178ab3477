/** Dialog for the API key. Concurrent requests share one dialog. */

import { byId } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { openSession } from "./session.js";

/** @type {Promise<boolean> | null} */
let prompt = null;

/**
 * @param {string} reason why the present key is not enough; empty if there is none
 * @returns {Promise<boolean>} whether a key was accepted
 */
export function promptForKey(reason) {
  prompt ??= openKeyDialog(reason).finally(() => {
    prompt = null;
  });
  return prompt;
}

/**
 * @param {string} reason
 * @returns {Promise<boolean>}
 */
function openKeyDialog(reason) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("key-dialog"));
  const input = /** @type {HTMLInputElement} */ (byId("key"));
  const message = byId("key-message");
  message.textContent = reason;
  dialog.returnValue = "";
  byId("no-key").onclick = () => dialog.close();
  dialog.onsubmit = async (event) => {
    event.preventDefault();
    try {
      await openSession(input.value);
      dialog.close("accepted");
    } catch (error) {
      message.textContent = messageOf(error);
      input.select();
    }
  };
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      input.value = "";
      resolve(dialog.returnValue === "accepted");
    };
  });
}
