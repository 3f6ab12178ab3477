/**
 * The query image with a crop rectangle over it.
 *
 * A mouse draws the rectangle anywhere on the picture. On touch screens a drag scrolls, so touch and keyboard users
 * create it with the button below. All of them can then move and resize it. Changes are debounced.
 */

import { Debouncer } from "../common/debounce.js";
import { button, el, image } from "../common/dom.js";
import { CORNERS, applyArrowKey, dragHandler } from "./crop-handles.js";
import { centred, formatRectangle, fromCorners, parseRectangle } from "./crop-rectangle.js";

/** @import { Point, Rectangle, Size } from "./crop-rectangle.js" */

const DEBOUNCE_MS = 350;
const MIN_DRAG_PX = 6;

export class Cropper {
  /** @type {Rectangle | null} */
  rectangle = null;
  /** @type {Size | null} of the upright picture; null until it has loaded */
  size = null;
  /** @type {((position: Point) => void) | null} handler of pointer moves while a button or finger is down */
  gesture = null;

  /**
   * @param {string} src
   * @param {string} title
   * @param {Size | null} size null to use the size of `src`
   * @param {(crop: string | null) => void} onChange
   */
  constructor(src, title, size, onChange) {
    this.debouncer = new Debouncer(DEBOUNCE_MS, onChange);
    this.picture = image(src, `Query picture: ${title}`);
    this.frame = el("div", { className: "crop-rectangle", tabIndex: 0, role: "application", hidden: true });
    this.frame.append(...CORNERS.map((corner) => el("span", { className: corner })));
    this.stage = el("div", { className: "stage" }, this.picture, this.frame);
    this.toggle = button("Search with a part", () =>
      this.change(this.rectangle ? null : this.initialRectangle()),
    );
    this.toggle.className = "link";
    this.text = el("span", { className: "hint", role: "status" });
    this.controls = el("p", { className: "crop-controls" }, this.toggle, this.text);
    this.element = el("div", { className: "cropper" }, this.stage, this.controls);
    if (size) this.setSize(size);
    else this.setSizeOnLoad();
    this.listen();
  }

  setSizeOnLoad() {
    this.toggle.hidden = true;
    this.picture.addEventListener("load", () => {
      if (this.picture.className === "missing")
        this.text.textContent = "This browser cannot show the picture.";
      else this.setSize({ width: this.picture.naturalWidth, height: this.picture.naturalHeight });
    });
  }

  /** @param {Size} size */
  setSize(size) {
    this.size = size;
    this.stage.style.setProperty("--ratio", String(size.width / size.height));
    this.toggle.hidden = false;
    this.draw();
  }

  listen() {
    this.stage.addEventListener("pointerdown", (event) => this.onPointerDown(event));
    this.stage.addEventListener("pointermove", (event) => this.gesture?.(this.positionOf(event)));
    for (const end of ["pointerup", "pointercancel"])
      this.stage.addEventListener(end, () => (this.gesture = null));
    this.frame.addEventListener("keydown", (event) => this.onKeyDown(event));
  }

  /**
   * Show the crop of a completed search, unless the user has begun another change.
   *
   * @param {string | null} crop
   */
  show(crop) {
    if (this.gesture || this.debouncer.pending) return;
    this.rectangle = parseRectangle(crop);
    this.draw();
  }

  /** Focus the rectangle, or the button that creates one. */
  focus() {
    (this.frame.hidden ? this.toggle : this.frame).focus({ preventScroll: true });
  }

  /** Cancel a drag and a pending change, because the page navigates. */
  cancel() {
    this.debouncer.cancel();
    this.gesture = null;
  }

  /** @param {PointerEvent} event */
  onPointerDown(event) {
    if (!this.size || event.button !== 0 || (event.pointerType === "touch" && !this.rectangle)) return;
    event.preventDefault(); // prevents image dragging and text selection
    this.stage.setPointerCapture(event.pointerId);
    this.gesture = this.gestureAt(/** @type {Element} */ (event.target), this.positionOf(event), this.size);
    if (this.rectangle) this.frame.focus({ preventScroll: true });
  }

  /**
   * @param {Element} target
   * @param {Point} start
   * @param {Size} size
   * @returns {(position: Point) => void}
   */
  gestureAt(target, start, size) {
    const { rectangle, stage } = this;
    if (rectangle && target.closest(".crop-rectangle")) {
      const drag = dragHandler(rectangle, target, start, size);
      return (position) => this.change(drag(position));
    }
    const minDrag = (MIN_DRAG_PX * size.width) / stage.clientWidth;
    return (position) => {
      const distance = Math.hypot(position.x - start.x, position.y - start.y);
      if (distance > minDrag) this.change(fromCorners(start, position, size));
    };
  }

  /** @param {KeyboardEvent} event */
  onKeyDown(event) {
    const { rectangle, size } = this;
    if (!rectangle || !size) return;
    const next = applyArrowKey(rectangle, event, size);
    if (!next && event.key !== "Escape") return;
    event.preventDefault();
    this.change(next);
  }

  initialRectangle() {
    return this.size && centred(this.size);
  }

  /** @param {Rectangle | null} rectangle */
  change(rectangle) {
    const appeared = rectangle && !this.rectangle;
    this.rectangle = rectangle;
    this.draw();
    if (appeared) this.frame.focus({ preventScroll: true });
    if (!rectangle) this.toggle.focus({ preventScroll: true });
    this.debouncer.schedule(rectangle && formatRectangle(rectangle));
  }

  draw() {
    const { rectangle, size } = this;
    this.frame.hidden = !rectangle || !size;
    this.toggle.textContent = rectangle ? "Use the whole picture" : "Search with a part";
    this.text.textContent = rectangle ? `${rectangle.width} × ${rectangle.height}` : "";
    if (!rectangle || !size) return;
    position(this.frame, rectangle, size);
    this.frame.ariaLabel =
      `Crop rectangle, ${rectangle.width} by ${rectangle.height} pixels at ${rectangle.x}, ${rectangle.y}. ` +
      "Arrow keys move it, Shift with arrow keys resizes it, Escape removes it.";
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point} in pixels of the picture
   */
  positionOf({ clientX, clientY }) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    const size = /** @type {Size} */ (this.size);
    return { x: ((clientX - left) * size.width) / width, y: ((clientY - top) * size.height) / height };
  }
}

/**
 * @param {HTMLElement} frame
 * @param {Rectangle} rectangle
 * @param {Size} size
 */
function position(frame, rectangle, size) {
  frame.style.left = `${(100 * rectangle.x) / size.width}%`;
  frame.style.top = `${(100 * rectangle.y) / size.height}%`;
  frame.style.width = `${(100 * rectangle.width) / size.width}%`;
  frame.style.height = `${(100 * rectangle.height) / size.height}%`;
}
