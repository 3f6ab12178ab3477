/** Dialog for the API key. Concurrent requests share one dialog. */

import { button, el } from "../common/dom.js";
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
  const heading = el("h2", { id: "key-heading" }, "This catalogue needs an API key");
  const input = el("input", { id: "key", autocomplete: "off", spellcheck: false, required: true });
  const message = el("p", { id: "key-message", role: "alert" }, reason);
  const submit = el("button", { type: "submit", className: "primary" }, "Continue");
  const cancel = button("Cancel", () => dialog.close(), { className: "link" });
  const form = el("form", { method: "dialog" }, heading, el("label", { htmlFor: input.id }, "API key"), input, message);
  form.append(el("p", { className: "controls" }, submit, cancel));
  const dialog = el("dialog", { id: "key-dialog" }, form);
  dialog.setAttribute("aria-labelledby", heading.id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await openSession(input.value);
      dialog.close("accepted");
    } catch (error) {
      message.textContent = messageOf(error);
      input.select();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "accepted");
    });
  });
}
