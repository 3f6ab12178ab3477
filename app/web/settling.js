/** Waits until a value has settled: acts with the last one once none has come for a moment. Knows nothing of the page. */

/** @template T */
export class Settling {
  /** @type {number | undefined} */
  timer = undefined;

  /**
   * @param {number} milliseconds
   * @param {(value: T) => void} act
   */
  constructor(milliseconds, act) {
    this.milliseconds = milliseconds;
    this.act = act;
  }

  get waiting() {
    return this.timer !== undefined;
  }

  /** @param {T} value */
  take(value) {
    this.stop();
    this.timer = window.setTimeout(() => {
      this.timer = undefined;
      this.act(value);
    }, this.milliseconds);
  }

  stop() {
    window.clearTimeout(this.timer);
    this.timer = undefined;
  }
}
