/**
 * A listing of the catalogue, loaded page by page. Independent of the DOM.
 *
 * Pages are read one after the other, because each has the cursor of the next. Far jumps are read in larger pages.
 */

/** @import { Picture, PicturePage } from "../api/client.js" */

const MIN_PAGE = 100;
const MAX_PAGE = 1000;

export class Listing {
  /** @type {Picture[]} */
  items = [];
  /** @type {string | null} */
  cursor = null;
  total = 0;
  loading = false;
  /** @type {unknown} why the last page could not be loaded; null if it could */
  error = null;
  onChange = () => {};
  #wanted = 0;

  /**
   * @param {PicturePage} first
   * @param {(limit: number, cursor: string) => Promise<PicturePage>} load
   */
  constructor(first, load) {
    this.load = load;
    this.total = first.total ?? 0;
    this.#append(first);
  }

  /** @param {PicturePage} page */
  #append({ items, next_cursor: cursor }) {
    this.items.push(...items);
    this.cursor = cursor;
    const loaded = this.items.length;
    this.total = cursor ? Math.max(this.total, loaded + 1) : loaded; // pictures are added and deleted meanwhile
  }

  /**
   * Load pages until the first `count` pictures are there, or all. A later call replaces the number.
   *
   * @param {number} count
   */
  async loadUntil(count) {
    this.#wanted = count;
    if (this.loading || this.error) return;
    this.loading = true;
    while (this.cursor && this.items.length < this.#wanted && !this.error) await this.#loadPage(this.cursor);
    this.loading = false;
  }

  /** @param {string} cursor */
  async #loadPage(cursor) {
    const missing = this.#wanted - this.items.length;
    try {
      this.#append(await this.load(Math.min(Math.max(missing, MIN_PAGE), MAX_PAGE), cursor));
    } catch (error) {
      this.error = error;
    }
    this.onChange();
  }

  /** Try again after an error. */
  retry() {
    this.error = null;
    return this.loadUntil(this.#wanted);
  }
}
