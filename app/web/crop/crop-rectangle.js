/**
 * Crop rectangle geometry, in pixels of the upright picture and always inside it.
 *
 * Independent of the DOM.
 */

/** @typedef {{x: number, y: number, width: number, height: number}} Rectangle */

/** @typedef {{x: number, y: number}} Point */

/** @typedef {{width: number, height: number}} Size of the picture */

const INITIAL_SHARE = 0.6;
const MIN_SHARE = 0.04;

/**
 * @param {string | null} text in the API's format: `x,y,width,height`
 * @returns {Rectangle | null}
 */
export function parseRectangle(text) {
  if (!/^\d{1,9}(,\d{1,9}){3}$/.test(text ?? "")) return null;
  const [x, y, width, height] = /** @type {string} */ (text).split(",").map(Number);
  return { x, y, width, height };
}

/** @param {Rectangle} rectangle */
export function formatRectangle({ x, y, width, height }) {
  return [x, y, width, height].join(",");
}

/**
 * @param {Size} size
 * @returns {Rectangle} centred in the picture
 */
export function centred(size) {
  const [width, height] = [size.width, size.height].map((side) =>
    Math.max(1, Math.round(side * INITIAL_SHARE)),
  );
  const [x, y] = [(size.width - width) / 2, (size.height - height) / 2].map(Math.floor);
  return { x, y, width, height };
}

/**
 * @param {Point} start
 * @param {Point} end
 * @param {Size} size
 * @returns {Rectangle} between two corners, enlarged to the minimum size
 */
export function fromCorners(start, end, size) {
  const horizontal = span(start.x, end.x, size.width);
  const vertical = span(start.y, end.y, size.height);
  return { x: horizontal.from, y: vertical.from, width: horizontal.length, height: vertical.length };
}

/**
 * @param {Rectangle} rectangle
 * @param {Point} by
 * @param {Size} size
 * @returns {Rectangle}
 */
export function moved(rectangle, by, size) {
  const x = clamp(Math.round(rectangle.x + by.x), 0, size.width - rectangle.width);
  const y = clamp(Math.round(rectangle.y + by.y), 0, size.height - rectangle.height);
  return { ...rectangle, x, y };
}

/**
 * @param {Rectangle} rectangle
 * @param {Point} by offset of the lower right corner
 * @param {Size} size
 * @returns {Rectangle}
 */
export function resized(rectangle, by, size) {
  const { x, y, width, height } = rectangle;
  const end = {
    x: Math.max(x + width + by.x, x + minLength(size.width)),
    y: Math.max(y + height + by.y, y + minLength(size.height)),
  };
  return fromCorners(rectangle, end, size);
}

/**
 * @param {number} one
 * @param {number} other
 * @param {number} side length of the picture in this direction
 */
function span(one, other, side) {
  const [low, high] = [Math.min(one, other), Math.max(one, other)].map((position) =>
    clamp(Math.round(position), 0, side),
  );
  const length = Math.max(high - low, minLength(side));
  return { from: Math.min(low, side - length), length };
}

/** @param {number} side */
function minLength(side) {
  return Math.max(1, Math.round(side * MIN_SHARE));
}

/**
 * @param {number} value
 * @param {number} min
 * @param {number} max
 */
function clamp(value, min, max) {
  return Math.min(Math.max(value, min), max);
}
