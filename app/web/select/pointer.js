/** Select tiles with a rectangle, which is drawn with the mouse, and with a long press on touch screens. */

import { el } from "../common/dom.js";

const MIN_DISTANCE = 6; // in pixels; a shorter one is a click
const LONG_PRESS_MS = 450;
const SCROLL_ZONE = 60; // in pixels from the window's edge
const NOT_DRAGGED = "input, button, select, textarea, label, summary, dialog";

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box in pixels of the document */

/** @import { Selection } from "./selection.js" */

/**
 * @param {HTMLElement} container
 * @param {Selection} selection
 * @param {() => boolean} enabled
 */
export function listenForRectangle(container, selection, enabled) {
  container.addEventListener("dragstart", (event) => {
    if (enabled()) event.preventDefault(); // of links
  });
  container.addEventListener("pointerdown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.pointerType !== "mouse" || event.button !== 0 || !enabled() || target.closest(NOT_DRAGGED)) return;
    new Rectangle(container, selection, event);
  });
}

class Rectangle {
  element = el("div", { className: "selection-rectangle" });
  /** @type {Map<number, Box>} boxes of all tiles that were in the document meanwhile */
  seen = new Map();
  frame = 0;
  listeners = new AbortController();

  /**
   * @param {HTMLElement} container
   * @param {Selection} selection
   * @param {PointerEvent} start
   */
  constructor(container, selection, start) {
    this.container = container;
    this.selection = selection;
    this.start = { x: start.pageX, y: start.pageY };
    this.pointer = { x: start.clientX, y: start.clientY };
    this.before = start.ctrlKey || start.metaKey || start.shiftKey ? selection.ids : new Set();
    const { signal } = this.listeners;
    addEventListener("pointermove", (event) => this.onMove(event), { signal });
    addEventListener("pointerup", () => this.end(), { signal });
    addEventListener("pointercancel", () => this.end(), { signal });
    addEventListener("selectstart", (event) => event.preventDefault(), { signal });
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    this.pointer = { x: event.clientX, y: event.clientY };
    const moved = Math.hypot(event.pageX - this.start.x, event.pageY - this.start.y);
    if (!this.element.isConnected && moved < MIN_DISTANCE) return;
    if (!this.element.isConnected) {
      document.body.append(this.element);
      this.follow();
    }
    this.update();
  }

  /** Scroll while the pointer is at the window's edge. */
  follow() {
    const below = this.pointer.y - (innerHeight - SCROLL_ZONE);
    const above = SCROLL_ZONE - this.pointer.y;
    const step = below > 0 ? below : -Math.max(0, above);
    if (step) {
      scrollBy(0, step / 3);
      this.update();
    }
    this.frame = requestAnimationFrame(() => this.follow());
  }

  update() {
    const end = { x: this.pointer.x + scrollX, y: this.pointer.y + scrollY };
    const box = {
      left: Math.min(this.start.x, end.x),
      top: Math.min(this.start.y, end.y),
      right: Math.max(this.start.x, end.x),
      bottom: Math.max(this.start.y, end.y),
    };
    const [width, height] = [box.right - box.left, box.bottom - box.top];
    Object.assign(this.element.style, {
      left: `${box.left}px`,
      top: `${box.top}px`,
      width: `${width}px`,
      height: `${height}px`,
    });
    for (const tile of visibleTiles(this.container)) this.seen.set(Number(tile.dataset.id), boxOf(tile));
    const inside = [...this.seen].filter(([, tile]) => intersect(tile, box)).map(([id]) => id);
    this.selection.set(new Set([...this.before, ...inside]));
  }

  end() {
    this.listeners.abort();
    cancelAnimationFrame(this.frame);
    if (!this.element.isConnected) return;
    this.element.remove();
    ignoreNextClick();
  }
}

/**
 * @param {HTMLElement} container
 * @param {(tile: HTMLElement) => void} onLongPress
 * @param {() => boolean} enabled
 */
export function listenForLongPress(container, onLongPress, enabled) {
  let timer = 0;
  let pressed = false;
  const cancel = () => clearTimeout(timer);
  container.addEventListener("pointerdown", (event) => {
    pressed = false;
    const tile = tileOf(event.target);
    if (event.pointerType !== "touch" || !tile || !enabled()) return;
    timer = window.setTimeout(() => {
      pressed = true;
      onLongPress(tile);
      container.addEventListener("pointerup", ignoreNextClick, { once: true });
    }, LONG_PRESS_MS);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) container.addEventListener(name, cancel);
  addEventListener("scroll", cancel, { passive: true });
  container.addEventListener("contextmenu", (event) => {
    if (pressed) event.preventDefault();
  });
}

/** Ignore the click that follows releasing a button or a finger. */
function ignoreNextClick() {
  const listeners = new AbortController();
  const ignore = (/** @type {Event} */ event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener("click", ignore, { capture: true, once: true, signal: listeners.signal });
  setTimeout(() => listeners.abort(), 50);
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
export function tileOf(target) {
  return target instanceof Element ? target.closest("[data-id]") : null;
}

/**
 * @param {HTMLElement} container
 * @returns {NodeListOf<HTMLElement>}
 */
export function tilesOf(container) {
  return container.querySelectorAll("[data-id]");
}

/**
 * @param {HTMLElement} container
 * @returns {HTMLElement[]} the tiles that are not folded away
 */
export function visibleTiles(container) {
  return [...tilesOf(container)].filter((tile) => tile.checkVisibility());
}

/**
 * @param {Element} element
 * @returns {Box}
 */
function boxOf(element) {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left: left + scrollX, top: top + scrollY, right: right + scrollX, bottom: bottom + scrollY };
}

/**
 * @param {Box} a
 * @param {Box} b
 */
function intersect(a, b) {
  return a.left < b.right && a.right > b.left && a.top < b.bottom && a.bottom > b.top;
}
