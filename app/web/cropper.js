/**
 * The picture searched with, and the box over the part of it that counts.
 *
 * A mouse draws the box, anywhere on the picture; fingers would scroll, so they ask for one with the button
 * below, and so do keys. Then it can be moved and resized by all of them. What settles is handed on.
 */

import { between, middle, readBox, writeBox } from "./box.js";
import { button, el, image } from "./dom.js";
import { CORNERS, dragOf, stepOf } from "./grips.js";
import { Settling } from "./settling.js";

/** @import { Box, Point, Size } from "./box.js" */

const SETTLED_MS = 350;
const SMALLEST_DRAG_PX = 6;

export class Cropper {
  /** @type {Box | null} */
  box = null;
  /** @type {Size | null} of the upright picture; null while nobody knows it */
  size = null;
  /** @type {((at: Point) => void) | null} what a pointer that is down does */
  gesture = null;

  /**
   * @param {string} src
   * @param {string} title
   * @param {Size | null} size null for that of `src` itself
   * @param {(crop: string | null) => void} onSettled
   */
  constructor(src, title, size, onSettled) {
    this.settling = new Settling(SETTLED_MS, onSettled);
    this.picture = image(src, `The picture searched with: ${title}`);
    this.frame = el("div", { className: "box", tabIndex: 0, role: "application", hidden: true });
    this.frame.append(...CORNERS.map((corner) => el("span", { className: corner })));
    this.stage = el("div", { className: "stage" }, this.picture, this.frame);
    this.toggle = button("Search with a part", () => this.change(this.box ? null : this.first()));
    this.toggle.className = "light";
    this.words = el("p", { className: "hint", role: "status" });
    this.element = el("div", { className: "cropper" }, this.stage, this.toggle, this.words);
    if (size) this.measure(size);
    else this.measureWhenLoaded();
    this.listen();
  }

  measureWhenLoaded() {
    this.toggle.hidden = true;
    this.picture.addEventListener("load", () => {
      if (this.picture.className === "missing")
        this.words.textContent = "This browser cannot show the picture.";
      else this.measure({ width: this.picture.naturalWidth, height: this.picture.naturalHeight });
    });
  }

  /** @param {Size} size */
  measure(size) {
    this.size = size;
    this.stage.style.setProperty("--ratio", String(size.width / size.height));
    this.toggle.hidden = false;
    this.draw();
  }

  listen() {
    this.stage.addEventListener("pointerdown", (event) => this.press(event));
    this.stage.addEventListener("pointermove", (event) => this.gesture?.(this.pointAt(event)));
    for (const end of ["pointerup", "pointercancel"])
      this.stage.addEventListener(end, () => (this.gesture = null));
    this.frame.addEventListener("keydown", (event) => this.key(event));
  }

  /**
   * Shows the crop that a search was made with, unless a hand has gone on meanwhile.
   *
   * @param {string | null} crop
   */
  show(crop) {
    if (this.gesture || this.settling.waiting) return;
    this.box = readBox(crop);
    this.draw();
  }

  /** Leaves a box that has not settled: something else is asked for. */
  drop() {
    this.settling.stop();
    this.gesture = null;
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (!this.size || event.button !== 0 || (event.pointerType === "touch" && !this.box)) return;
    event.preventDefault(); // no dragging of the picture, no selecting of text
    this.stage.setPointerCapture(event.pointerId);
    this.gesture = this.gestureAt(/** @type {Element} */ (event.target), this.pointAt(event), this.size);
    if (this.box) this.frame.focus({ preventScroll: true });
  }

  /**
   * @param {Element} target
   * @param {Point} start
   * @param {Size} size
   * @returns {(at: Point) => void}
   */
  gestureAt(target, start, size) {
    const { box, stage } = this;
    if (box && target.closest(".box")) {
      const drag = dragOf(box, target, start, size);
      return (at) => this.change(drag(at));
    }
    const least = (SMALLEST_DRAG_PX * size.width) / stage.clientWidth;
    return (at) => {
      if (Math.hypot(at.x - start.x, at.y - start.y) > least) this.change(between(start, at, size));
    };
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { box, size } = this;
    if (!box || !size) return;
    const next = stepOf(box, event, size);
    if (!next && event.key !== "Escape") return;
    event.preventDefault();
    this.change(next);
  }

  first() {
    return this.size && middle(this.size);
  }

  /** @param {Box | null} box */
  change(box) {
    const appeared = box && !this.box;
    this.box = box;
    this.draw();
    if (appeared) this.frame.focus({ preventScroll: true });
    if (!box) this.toggle.focus({ preventScroll: true });
    this.settling.take(box && writeBox(box));
  }

  draw() {
    const { box, size } = this;
    this.frame.hidden = !box || !size;
    this.toggle.textContent = box ? "Search with all of it" : "Search with a part";
    this.words.textContent = box ? `${box.width} × ${box.height} pixels of it` : "";
    if (!box || !size) return;
    place(this.frame, box, size);
    this.frame.ariaLabel =
      `The part searched with, ${box.width} by ${box.height} pixels at ${box.x}, ${box.y}. ` +
      "Arrow keys move it, with Shift they resize it, Escape takes it away.";
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point} in pixels of the picture
   */
  pointAt({ clientX, clientY }) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    const size = /** @type {Size} */ (this.size);
    return { x: ((clientX - left) * size.width) / width, y: ((clientY - top) * size.height) / height };
  }
}

/**
 * @param {HTMLElement} frame
 * @param {Box} box
 * @param {Size} size
 */
function place(frame, box, size) {
  frame.style.left = `${(100 * box.x) / size.width}%`;
  frame.style.top = `${(100 * box.y) / size.height}%`;
  frame.style.width = `${(100 * box.width) / size.width}%`;
  frame.style.height = `${(100 * box.height) / size.height}%`;
}
