/**
 * The part of a picture that is searched with: a box in pixels of the upright picture, never outside it.
 *
 * Knows nothing of the DOM.
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/** @typedef {{x: number, y: number}} Point */

/** @typedef {{width: number, height: number}} Size of the picture */

const SHARE_AT_FIRST = 0.6;
const SMALLEST_SHARE = 0.04;

/**
 * @param {string | null} text as the API writes it: `x,y,width,height`
 * @returns {Box | null}
 */
export function readBox(text) {
  if (!/^\d{1,9}(,\d{1,9}){3}$/.test(text ?? "")) return null;
  const [x, y, width, height] = /** @type {string} */ (text).split(",").map(Number);
  return { x, y, width, height };
}

/** @param {Box} box */
export function writeBox({ x, y, width, height }) {
  return [x, y, width, height].join(",");
}

/**
 * @param {Size} size
 * @returns {Box} the middle of the picture
 */
export function middle(size) {
  const [width, height] = [size.width, size.height].map((side) =>
    Math.max(1, Math.round(side * SHARE_AT_FIRST)),
  );
  const [x, y] = [(size.width - width) / 2, (size.height - height) / 2].map(Math.floor);
  return { x, y, width, height };
}

/**
 * @param {Point} start
 * @param {Point} end
 * @param {Size} size
 * @returns {Box} between two corners, and at least as large as a hand can hold
 */
export function between(start, end, size) {
  const across = span(start.x, end.x, size.width);
  const down = span(start.y, end.y, size.height);
  return { x: across.from, y: down.from, width: across.length, height: down.length };
}

/**
 * @param {Box} box
 * @param {Point} by
 * @param {Size} size
 * @returns {Box}
 */
export function moved(box, by, size) {
  const x = clamp(Math.round(box.x + by.x), 0, size.width - box.width);
  const y = clamp(Math.round(box.y + by.y), 0, size.height - box.height);
  return { ...box, x, y };
}

/**
 * @param {Box} box
 * @param {Point} by how far its lower right corner goes
 * @param {Size} size
 * @returns {Box}
 */
export function resized(box, by, size) {
  const end = { x: box.x + box.width + by.x, y: box.y + box.height + by.y };
  const least = { x: box.x + smallest(size.width), y: box.y + smallest(size.height) };
  return between(box, { x: Math.max(end.x, least.x), y: Math.max(end.y, least.y) }, size);
}

/**
 * @param {number} one
 * @param {number} other
 * @param {number} side of the picture, in this direction
 */
function span(one, other, side) {
  const [low, high] = [Math.min(one, other), Math.max(one, other)].map((at) =>
    clamp(Math.round(at), 0, side),
  );
  const length = Math.max(high - low, smallest(side));
  return { from: Math.min(low, side - length), length };
}

/** @param {number} side */
function smallest(side) {
  return Math.max(1, Math.round(side * SMALLEST_SHARE));
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
