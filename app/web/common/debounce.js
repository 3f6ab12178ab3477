/** Debounce a callback: call it with the latest value after a pause without new values. Independent of the page. */

/** @template T */
export class Debouncer {
  /** @type {number | undefined} */
  timer = undefined;

  /**
   * @param {number} delayMs
   * @param {(value: T) => void} callback
   */
  constructor(delayMs, callback) {
    this.delayMs = delayMs;
    this.callback = callback;
  }

  get pending() {
    return this.timer !== undefined;
  }

  /** @param {T} value */
  schedule(value) {
    this.cancel();
    this.timer = window.setTimeout(() => {
      this.timer = undefined;
      this.callback(value);
    }, this.delayMs);
  }

  cancel() {
    window.clearTimeout(this.timer);
    this.timer = undefined;
  }
}
