/** Short messages at the bottom of the page, with an optional action such as Undo. */

import { button, byId, el } from "./dom.js";

const DURATION_MS = 5000;
const ACTION_DURATION_MS = 12_000;

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
  byId("toasts").replaceChildren(toast);
}
