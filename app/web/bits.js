/** A code as a grid of its bits, those that differ from the query's marked. */

const NAMESPACE = "http://www.w3.org/2000/svg";
const CELL = 10;
const GAP = 2;
const NARROWEST = 16;

/**
 * @param {string} code hexadecimal
 * @param {number[]} differing
 * @param {string} label what the grid says, in words
 */
export function bitGrid(code, differing, label) {
  const bits = toBits(code);
  const columns = Math.max(NARROWEST, 2 ** Math.ceil(Math.log2(Math.sqrt(2 * bits.length))));
  const rows = Math.ceil(bits.length / columns);
  const box = `0 0 ${columns * CELL - GAP} ${rows * CELL - GAP}`;
  const grid = shape("svg", {
    class: "bits",
    viewBox: box,
    preserveAspectRatio: "xMinYMid",
    role: "img",
    "aria-label": label,
  });
  const marked = new Set(differing);
  grid.append(
    ...bits.map((bit, number) =>
      cell(bit, marked.has(number), number % columns, Math.floor(number / columns)),
    ),
  );
  return grid;
}

/**
 * @param {string} code
 * @returns {boolean[]} the first bit of the first byte first
 */
export function toBits(code) {
  return [...code].flatMap((digit) => {
    const value = parseInt(digit, 16);
    return [8, 4, 2, 1].map((weight) => (value & weight) !== 0);
  });
}

/**
 * @param {boolean} bit
 * @param {boolean} differs
 * @param {number} column
 * @param {number} row
 */
function cell(bit, differs, column, row) {
  const side = CELL - GAP;
  const kind = `${bit ? "one" : "nought"}${differs ? " differs" : ""}`;
  return shape("rect", { class: kind, x: column * CELL, y: row * CELL, width: side, height: side, rx: 2 });
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function shape(name, attributes) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, String(value));
  return made;
}
