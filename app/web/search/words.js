/** The search box for words, beside the choice of a picture. */

import { Debouncer } from "../common/debounce.js";
import { byId } from "../common/dom.js";

const DEBOUNCE_MS = 350;

export class WordSearch {
  input = /** @type {HTMLInputElement} */ (byId("text"));

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
