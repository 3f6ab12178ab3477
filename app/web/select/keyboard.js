/**
 * Select tiles with the keyboard: `x` or Space toggles the focused one, Shift and an arrow key extends the selection,
 * Ctrl+A selects all that are loaded, Escape clears.
 */

import { tileOf, visibleTiles } from "./pointer.js";

/** @import { Selection } from "./selection.js" */

const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

/**
 * @param {HTMLElement} container
 * @param {Selection} selection
 * @param {() => number[]} order
 * @param {() => boolean} enabled
 */
export function listenForKeys(container, selection, order, enabled) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || !enabled() || isOccupied(event.target)) return;
    if (onKey(event, container, selection, order)) event.preventDefault();
  });
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement} container
 * @param {Selection} selection
 * @param {() => number[]} order
 * @returns {boolean} whether the key meant something
 */
function onKey({ key, ctrlKey, metaKey, shiftKey, target }, container, selection, order) {
  if (ctrlKey || metaKey) {
    if (key !== "a" || shiftKey) return false;
    selection.set(new Set(order()));
    return true;
  }
  if (key === "Escape") {
    if (selection.empty) return false;
    selection.clear();
    return true;
  }
  const tile = tileOf(target);
  if (!tile || !container.contains(tile)) return false;
  const id = Number(tile.dataset.id);
  if (key === "x" || key === " ") {
    if (shiftKey) selection.extendTo(id, order());
    else selection.toggle(id);
    return true;
  }
  if (!shiftKey || !ARROWS.includes(key)) return false;
  const next = neighbour(tile, key, container);
  if (selection.anchor === null || !selection.has(id)) selection.toggle(id);
  if (next) selection.extendTo(Number(next.dataset.id), order());
  next?.focus();
  return true;
}

/** @param {EventTarget | null} target */
function isOccupied(target) {
  const field = "input:not([type=checkbox]), textarea, select, dialog, [contenteditable]";
  return document.querySelector("dialog[open]:modal") !== null || (target instanceof Element && target.closest(field) !== null);
}

/**
 * Return the next tile in a direction: the one before or after, or the nearest one of the row above or below.
 *
 * @param {HTMLElement} tile
 * @param {string} key
 * @param {HTMLElement} container
 * @returns {HTMLElement | undefined}
 */
function neighbour(tile, key, container) {
  const tiles = visibleTiles(container);
  if (key === "ArrowLeft" || key === "ArrowRight") return tiles[tiles.indexOf(tile) + (key === "ArrowRight" ? 1 : -1)];
  const sign = key === "ArrowDown" ? 1 : -1;
  const { left, top, height } = tile.getBoundingClientRect();
  const distances = tiles.map((other) => {
    const box = other.getBoundingClientRect();
    const down = sign * (box.top - top);
    return { other, distance: down < height / 2 ? Infinity : 100 * down + Math.abs(box.left - left) };
  });
  const nearest = distances.reduce((best, one) => (one.distance < best.distance ? one : best), {
    other: tile,
    distance: Infinity,
  });
  return nearest.other === tile ? undefined : nearest.other;
}
