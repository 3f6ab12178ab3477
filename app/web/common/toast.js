/**
 * Short messages at the bottom of the page, with an optional action such as Undo.
 *
 * Everything outside an open modal dialog is covered and inert, so messages are shown inside the dialog.
 */

import { button, byId, el } from "./dom.js";

const DURATION_MS = 5000;
const ACTION_DURATION_MS = 12_000;

const toasts = byId("toasts");
// Neither event bubbles. When they are sent, a dialog that closes is no longer modal, and is still in the document.
for (const name of ["toggle", "close"]) document.addEventListener(name, place, { capture: true });

/**
 * Show a message; it replaces the one before it, and stays while it has the pointer or the focus.
 *
 * @param {string} message
 * @param {{text: string, run: () => void} | null} [action]
 */
export function showToast(message, action = null) {
  const toast = el("div", { className: "toast" }, el("span", {}, message));
  if (action) {
    const onClick = () => {
      toast.remove();
      action.run();
    };
    toast.append(button(action.text, onClick, { className: "link" }));
  }
  toast.append(button("×", () => toast.remove(), { className: "close", ariaLabel: "Dismiss" }));
  const remove = () => {
    if (toast.matches(":hover, :focus-within")) setTimeout(remove, DURATION_MS);
    else toast.remove();
  };
  setTimeout(remove, action ? ACTION_DURATION_MS : DURATION_MS);
  place();
  toasts.replaceChildren(toast);
}

/** Move the messages into the modal dialog that was opened last, or out of one that was closed. */
function place() {
  const parent = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  if (toasts.parentElement !== parent) parent.append(toasts);
}
