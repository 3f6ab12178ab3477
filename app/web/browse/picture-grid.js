/**
 * Virtual grid of pictures: only the rows near the viewport are in the document, and the page is as long as if all
 * were. Columns, gaps and tiles are those of the style sheet; all rows are as high as the highest of a sample.
 *
 * A custom element, because its height must be known as soon as it is inserted: only then can the page scroll to where
 * it was.
 */

import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { Listing } from "./listing.js";

/** @import { Picture } from "../api/client.js" */

const SAMPLE = 60;
// Browsers limit the height of an element; Firefox to 17.8 million pixels.
const MAX_HEIGHT = 16_000_000;
const IDS = new WeakMap();

export class PictureGrid extends HTMLElement {
  list = el("ul", { className: "tiles" });
  message = el("p", { className: "error", role: "alert" });
  /** @type {Map<number, HTMLElement>} the list items in the document, by position */
  shown = new Map();
  columns = 1;
  pitch = { x: 0, y: 0 };
  size = { width: 0, height: 0 };
  frame = 0;
  resize = new ResizeObserver(() => this.onResize());

  /**
   * @param {Listing} listing
   * @param {(picture: Picture) => HTMLElement} toItem returns a list item
   */
  static create(listing, toItem) {
    const grid = /** @type {PictureGrid} */ (document.createElement("picture-grid"));
    grid.listing = listing;
    grid.toItem = toItem;
    grid.list.setAttribute("role", "list"); // Safari drops the role of lists without bullets
    return grid;
  }

  /** @type {Listing} */
  listing = new Listing({ items: [], next_cursor: null, total: 0, warnings: [] }, () => Promise.reject());
  /** @type {(picture: Picture) => HTMLElement} */
  toItem = () => el("li");

  connectedCallback() {
    this.append(this.list, this.message);
    this.listing.onChange = () => this.update();
    addEventListener("scroll", this.schedule, { passive: true });
    this.measure();
    this.resize.observe(this);
  }

  disconnectedCallback() {
    removeEventListener("scroll", this.schedule);
    cancelAnimationFrame(this.frame);
    this.resize.disconnect();
    this.listing.onChange = () => {};
    this.listing.loadUntil(0);
  }

  /** The ids of all loaded pictures, in order. */
  get ids() {
    const { items } = this.listing;
    const known = IDS.get(items);
    if (known?.length === items.length) return known;
    const ids = items.map(({ id }) => id);
    IDS.set(items, ids);
    return ids;
  }

  /** Lay out a sample as an ordinary grid, and take the sizes from it. */
  measure() {
    const { items } = this.listing;
    const seen = this.shown.size ? Math.min(...this.shown.keys()) : 0;
    const first = Math.max(0, Math.min(seen, items.length - SAMPLE)); // those that are seen may not be loaded yet
    const sample = items.slice(first, first + SAMPLE).map(this.toItem);
    this.list.className = "tiles";
    this.list.style.height = "";
    this.list.replaceChildren(...sample);
    const { gridTemplateColumns, columnGap, rowGap } = getComputedStyle(this.list);
    const tracks = gridTemplateColumns.split(" ");
    const width = parseFloat(tracks[0]) || 0;
    const height = Math.ceil(Math.max(0, ...sample.map((item) => item.offsetHeight)));
    this.columns = tracks.length;
    this.size = { width, height };
    this.pitch = { x: width + parseFloat(columnGap), y: height + parseFloat(rowGap) };
    this.width = this.clientWidth;
    this.list.replaceChildren();
    this.list.classList.add("virtual");
    this.shown.clear();
    this.update();
  }

  /** Keep the first row that is seen where it is, since another number of columns moves all rows. */
  onResize() {
    if (this.clientWidth === this.width) return;
    const top = -this.list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.pitch.y)) * this.columns;
    this.measure();
    if (top > 0) scrollBy(0, this.list.getBoundingClientRect().top + Math.floor(first / this.columns) * this.pitch.y);
  }

  schedule = () => {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  };

  /** Update the height, which the number of pictures may have changed, and draw. */
  update() {
    const rows = Math.ceil(this.listing.total / this.columns);
    const height = Math.min(rows * this.pitch.y, MAX_HEIGHT);
    this.list.style.height = `${height}px`;
    const { error, total } = this.listing;
    this.message.replaceChildren(...(error ? [messageOf(error), " ", this.retryButton()] : []));
    if (height === MAX_HEIGHT && !error)
      this.message.textContent = `Only the first of these ${total.toLocaleString("en")} pictures are shown. Filter them to see others.`;
    this.draw();
  }

  retryButton() {
    return button("Try again", () => this.retry(), { className: "link" });
  }

  retry() {
    const done = this.listing.retry();
    this.update();
    return done;
  }

  /** Put the rows near the viewport into the document, and remove the others. */
  draw() {
    if (!this.pitch.y) return;
    const top = -this.list.getBoundingClientRect().top;
    const firstRow = Math.max(0, Math.floor((top - innerHeight) / this.pitch.y));
    const endRow = Math.max(0, Math.ceil((top + 2 * innerHeight) / this.pitch.y));
    const end = Math.min(endRow * this.columns, this.listing.total);
    const wanted = new Set();
    for (let index = firstRow * this.columns; index < end; index += 1) wanted.add(index);
    for (const [index, item] of this.shown) {
      const outdated = item.classList.contains("placeholder") && index < this.listing.items.length;
      if (outdated || (!wanted.has(index) && !item.contains(document.activeElement))) this.remove(index, item);
    }
    let next = this.list.firstElementChild;
    for (const index of wanted) {
      while (next && Number(/** @type {HTMLElement} */ (next).dataset.index) < index) next = next.nextElementSibling;
      if (!this.shown.has(index)) this.list.insertBefore(this.itemAt(index), next);
    }
    this.listing.loadUntil(end + 2 * this.columns);
  }

  /**
   * @param {number} index
   * @param {HTMLElement} item
   */
  remove(index, item) {
    for (const picture of item.querySelectorAll("img")) if (!picture.complete) picture.removeAttribute("src");
    item.remove();
    this.shown.delete(index);
  }

  /** @param {number} index */
  itemAt(index) {
    const picture = this.listing.items[index];
    const item = picture ? this.toItem(picture) : el("li", { className: "placeholder" });
    const [column, row] = [index % this.columns, Math.floor(index / this.columns)];
    item.dataset.index = String(index);
    item.setAttribute("aria-posinset", String(index + 1));
    item.setAttribute("aria-setsize", String(this.listing.total));
    Object.assign(item.style, {
      width: `${this.size.width}px`,
      height: `${this.size.height}px`,
      left: `${column * this.pitch.x}px`,
      top: `${row * this.pitch.y}px`,
    });
    this.shown.set(index, item);
    return item;
  }
}

customElements.define("picture-grid", PictureGrid);
