/**
 * A control for a text that knows what it held when it was filled.
 *
 * Browsers take line breaks out of a line, and make one kind of them in several lines: only what differs from what the
 * control held has been changed by a person, and everything else is still the text that it was filled with.
 */

import { el } from "./dom.js";

const MOST_LINES_SHOWN = 8;

export class TextBox {
  /**
   * @param {string} before
   * @param {Record<string, unknown>} [properties]
   */
  constructor(before, properties = {}) {
    this.before = before;
    const lines = before.split(/\r\n|\r|\n/).length;
    /** @type {HTMLInputElement | HTMLTextAreaElement} */
    this.control = lines > 1 ? el("textarea", { rows: Math.min(lines, MOST_LINES_SHOWN) }) : el("input");
    Object.assign(this.control, { autocomplete: "off", ...properties, value: before });
    this.held = this.control.value;
  }

  /** Spaces around what was typed are a slip, unless there were some before. */
  get text() {
    const { value } = this.control;
    if (value === this.held) return this.before;
    const kept = this.held === this.held.trim() ? value.trim() : value;
    return this.before.includes("\r\n") ? kept.replaceAll("\n", "\r\n") : kept;
  }
}
