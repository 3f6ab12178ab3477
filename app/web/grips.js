/** What hands do to the box: by its corners, by its middle, and by keys. Knows nothing of the DOM but its events. */

import { between, moved, resized } from "./box.js";

/** @import { Box, Point, Size } from "./box.js" */

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
 * @param {Box} box
 * @param {Element} target what the hand took: a corner, or the box itself
 * @param {Point} start where
 * @param {Size} size
 * @returns {(at: Point) => Box} where the hand's way leads the box
 */
export function dragOf(box, target, start, size) {
  const corner = CORNERS.find((name) => target.classList.contains(name));
  if (corner) return (at) => between(opposite(box, corner), at, size);
  return (at) => moved(box, { x: at.x - start.x, y: at.y - start.y }, size);
}

/**
 * @param {Box} box
 * @param {KeyboardEvent} event
 * @param {Size} size
 * @returns {Box | null} where an arrow leads the box; null for any other key
 */
export function stepOf(box, { key, shiftKey }, size) {
  const arrow = ARROWS[key];
  if (!arrow) return null;
  const step = Math.max(1, Math.round(Math.min(size.width, size.height) * STEP_SHARE));
  const by = { x: arrow.x * step, y: arrow.y * step };
  return shiftKey ? resized(box, by, size) : moved(box, by, size);
}

/**
 * @param {Box} box
 * @param {"nw" | "ne" | "sw" | "se"} corner
 * @returns {Point} the corner that stays while this one is dragged
 */
function opposite({ x, y, width, height }, corner) {
  return { x: corner.endsWith("w") ? x + width : x, y: corner.startsWith("n") ? y + height : y };
}
