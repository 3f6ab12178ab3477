/** Move and resize the crop rectangle by dragging its corners or its area, and by arrow keys. */

import { fromCorners, moved, resized } from "./crop-rectangle.js";

/** @import { Point, Rectangle, Size } from "./crop-rectangle.js" */

export const CORNERS = /** @type {const} */ (["nw", "ne", "sw", "se"]);
const STEP_SHARE = 0.02;
/** @type {Record<string, Point>} */
const ARROWS = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/**
 * @param {Rectangle} rectangle
 * @param {Element} target a corner handle, or the rectangle's element
 * @param {Point} start
 * @param {Size} size
 * @returns {(position: Point) => Rectangle} the rectangle for a pointer position
 */
export function dragHandler(rectangle, target, start, size) {
  const corner = CORNERS.find((name) => target.classList.contains(name));
  if (corner) return (position) => fromCorners(oppositeCorner(rectangle, corner), position, size);
  return (position) => moved(rectangle, { x: position.x - start.x, y: position.y - start.y }, size);
}

/**
 * @param {Rectangle} rectangle
 * @param {KeyboardEvent} event
 * @param {Size} size
 * @returns {Rectangle | null} moved, or with Shift resized; null if the key is not an arrow
 */
export function applyArrowKey(rectangle, { key, shiftKey }, size) {
  const arrow = ARROWS[key];
  if (!arrow) return null;
  const step = Math.max(1, Math.round(Math.min(size.width, size.height) * STEP_SHARE));
  const by = { x: arrow.x * step, y: arrow.y * step };
  return shiftKey ? resized(rectangle, by, size) : moved(rectangle, by, size);
}

/**
 * @param {Rectangle} rectangle
 * @param {"nw" | "ne" | "sw" | "se"} corner
 * @returns {Point} the corner that stays fixed while this one is dragged
 */
function oppositeCorner({ x, y, width, height }, corner) {
  return { x: corner.endsWith("w") ? x + width : x, y: corner.startsWith("n") ? y + height : y };
}
