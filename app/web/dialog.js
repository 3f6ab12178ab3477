/** Dialogs: a heading, what is asked or said, and a way out. The browser keeps the focus inside and gives it back. */

import { button, el } from "./dom.js";

/**
 * Opens a dialog; it is gone from the document when it closes.
 *
 * @param {string} heading
 * @param {string} kind its class
 * @param {...(Node | string)} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(heading, kind, ...children) {
  const title = el("h2", { id: "dialog-heading" }, heading);
  const dialog = el("dialog", { className: kind });
  dialog.setAttribute("aria-labelledby", title.id);
  const close = button("×", () => dialog.close(), { className: "close", ariaLabel: "Close" });
  dialog.append(el("div", { className: "content" }, el("header", {}, title, close), ...children));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside its content
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Opens a question that can be refused; an answer that fails leaves it open and says why.
 *
 * @param {string} heading
 * @param {string} kind
 * @param {Node} question
 * @param {string} yes the words of the button that answers it
 * @param {() => Promise<void>} act throws an error with a sentence where it cannot be done
 */
export function ask(heading, kind, question, yes, act) {
  const message = el("p", { className: "trouble", role: "alert" });
  const submit = el("button", { type: "submit", className: "main" }, yes);
  const cancel = button("Cancel", () => dialog.close(), { className: "light", autofocus: true });
  const form = el("form", {}, question, message, el("p", { className: "controls" }, submit, cancel));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    Object.assign(submit, { disabled: true });
    try {
      await act();
      dialog.close();
    } catch (error) {
      message.textContent = error instanceof Error ? error.message : String(error);
    }
    Object.assign(submit, { disabled: false });
  });
  const dialog = openDialog(heading, kind, form);
}
