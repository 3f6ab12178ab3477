/** Draw a binary code as an SVG grid of bits, with the bits that differ from the query's code highlighted. */

const NAMESPACE = "http://www.w3.org/2000/svg";
const CELL = 10;
const GAP = 2;
const MIN_COLUMNS = 16;

/**
 * @param {string} code hexadecimal
 * @param {number[]} differing positions of the bits to highlight
 * @param {string} label accessible name of the grid
 */
export function codeGrid(code, differing, label) {
  const bits = toBits(code);
  const columns = Math.max(MIN_COLUMNS, 2 ** Math.ceil(Math.log2(Math.sqrt(2 * bits.length))));
  const rows = Math.ceil(bits.length / columns);
  const viewBox = `0 0 ${columns * CELL - GAP} ${rows * CELL - GAP}`;
  const grid = svgElement("svg", {
    class: "code-grid",
    viewBox,
    preserveAspectRatio: "xMinYMid",
    role: "img",
    "aria-label": label,
  });
  const highlighted = new Set(differing);
  grid.append(
    ...bits.map((bit, position) =>
      cell(bit, highlighted.has(position), position % columns, Math.floor(position / columns)),
    ),
  );
  return grid;
}

/**
 * @param {string} code hexadecimal
 * @returns {boolean[]} from the most significant bit of the first byte on
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
  const className = `${bit ? "one" : "zero"}${differs ? " differs" : ""}`;
  return svgElement("rect", {
    class: className,
    x: column * CELL,
    y: row * CELL,
    width: side,
    height: side,
    rx: 2,
  });
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 */
function svgElement(name, attributes) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, String(value));
  return element;
}
