/** The search box for words, beside the choice of a picture. */

import { Debouncer } from "../common/debounce.js";
import { byId } from "../common/dom.js";
import { HttpError } from "../common/errors.js";

const DEBOUNCE_MS = 350;
const FIELD = "text"; // in errors of the API

export class WordSearch {
  input = /** @type {HTMLInputElement} */ (byId("text"));
  message = byId("words-message");

  /** @param {(text: string | null) => void} onChange */
  constructor(onChange) {
    this.debouncer = new Debouncer(DEBOUNCE_MS, () => this.submit());
    this.onChange = onChange;
    /** @type {string | null} words of the view that is shown */
    this.shown = null;
    this.input.addEventListener("input", () => this.debouncer.schedule(null));
    byId("words").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  submit() {
    this.debouncer.cancel();
    const text = this.input.value.trim() || null;
    if (text !== this.shown) this.onChange(text);
    else this.showError("");
  }

  /**
   * If the service refused the words of a search, show them again, and the error below them.
   *
   * @param {unknown} error
   * @param {string | null} text
   * @returns {boolean} whether it refused them
   */
  showRefusal(error, text) {
    const refused = error instanceof HttpError ? error.fields.find(({ field }) => field === FIELD) : undefined;
    if (!refused) return false;
    if (!this.debouncer.pending) this.input.value = text ?? "";
    this.showError(`The search text ${refused.reason.replace(/\.?$/, ".")}`);
    return true;
  }

  /** @param {string} message empty to clear it */
  showError(message) {
    this.message.textContent = message;
    this.input.ariaInvalid = message ? "true" : null;
  }

  /**
   * @param {string | null} text of the view that is shown
   */
  show(text) {
    this.shown = text;
    if (this.debouncer.pending) return; // the user is still typing
    if (this.input.value.trim() !== (text ?? "")) this.input.value = text ?? "";
  }
}
