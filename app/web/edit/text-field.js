/**
 * Text control that preserves its initial value exactly if the user does not change it.
 *
 * Browsers strip line breaks from `<input>` and normalise them in `<textarea>`. So the control's value is compared
 * with its value after initialisation; if they are equal, the initial text is returned.
 */

import { el } from "../common/dom.js";

const MAX_ROWS = 8;

export class TextField {
  /**
   * @param {string} initial
   * @param {Record<string, unknown>} [properties]
   */
  constructor(initial, properties = {}) {
    this.initial = initial;
    const lines = initial.split(/\r\n|\r|\n/).length;
    /** @type {HTMLInputElement | HTMLTextAreaElement} */
    this.control = lines > 1 ? el("textarea", { rows: Math.min(lines, MAX_ROWS) }) : el("input");
    Object.assign(this.control, { autocomplete: "off", ...properties, value: initial });
    this.initialValue = this.control.value;
  }

  /** The text, with surrounding spaces removed unless the initial text had some. */
  get text() {
    const { value } = this.control;
    if (value === this.initialValue) return this.initial;
    const text = this.initialValue === this.initialValue.trim() ? value.trim() : value;
    return this.initial.includes("\r\n") ? text.replaceAll("\n", "\r\n") : text;
  }
}
