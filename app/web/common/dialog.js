/** Modal dialogs and confirmation forms. The browser traps the focus in a dialog and restores it afterwards. */

import { button, el } from "./dom.js";
import { messageOf } from "./errors.js";

/**
 * Open a modal dialog and remove it from the document when it closes.
 *
 * @param {string} heading
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLDialogElement}
 */
export function openDialog(heading, className, ...children) {
  const title = el("h2", { id: "dialog-heading" }, heading);
  const dialog = el("dialog", { className });
  dialog.setAttribute("aria-labelledby", title.id);
  const close = button("×", () => dialog.close(), { className: "close", ariaLabel: "Close" });
  dialog.append(el("div", { className: "content" }, el("header", {}, title, close), ...children));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // a click on the backdrop
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Open a dialog with a form to submit or cancel. If submitting fails, the dialog stays open and shows the error.
 *
 * @param {string} heading
 * @param {string} className
 * @param {Node} content
 * @param {string} submitText
 * @param {() => Promise<void>} onSubmit throws a `UserError` on failure
 */
export function openForm(heading, className, content, submitText, onSubmit) {
  const message = el("p", { className: "error", role: "alert" });
  const submit = el("button", { type: "submit", className: className === "delete" ? "primary danger" : "primary" }, submitText);
  const cancel = button("Cancel", () => dialog.close(), { className: "link", autofocus: true });
  const form = el("form", {}, content, message, el("p", { className: "controls" }, submit, cancel));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    message.textContent = "";
    Object.assign(submit, { disabled: true });
    try {
      await onSubmit();
      dialog.close();
    } catch (error) {
      message.textContent = messageOf(error);
    }
    Object.assign(submit, { disabled: false });
  });
  const dialog = openDialog(heading, className, form);
}
