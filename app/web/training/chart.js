/** A chart of precision by epoch, as SVG. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480;
const HEIGHT = 220;
const LEFT = 36;
const RIGHT = 40;
const TOP = 10;
const BOTTOM = 26;
const MODES = /** @type {const} */ (["es", "bcs", "hds"]);
const MAX_TICKS = 8;

/**
 * @typedef {object} Epoch
 * @property {number} epoch 0 for the head
 * @property {number | null} loss
 * @property {number} accuracy
 * @property {number | null} es
 * @property {number | null} hds
 * @property {number | null} bcs
 */

/**
 * @param {Epoch[]} history
 * @param {number} epochs the planned number
 */
export function precisionChart(history, epochs) {
  const values = history.flatMap((one) => MODES.map((mode) => one[mode]).filter((value) => value !== null));
  const low = Math.floor(Math.min(...values) * 10) / 10;
  const high = Math.max(Math.ceil(Math.max(...values) * 10) / 10, low + 0.1);
  const last = Math.max(epochs, 1);
  /** @param {number} epoch */
  const x = (epoch) => LEFT + ((WIDTH - LEFT - RIGHT) * epoch) / last;
  /** @param {number} value */
  const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - value)) / (high - low);
  const latest = history[history.length - 1];
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img" });
  chart.setAttribute("aria-label", `Precision@10 by epoch; hds is ${format(latest.hds)} after epoch ${latest.epoch}`);
  for (let tenth = Math.round(low * 10); tenth <= Math.round(high * 10); tenth++) {
    const at = y(tenth / 10);
    chart.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }));
    chart.append(svg("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, (tenth / 10).toFixed(1)));
  }
  const step = Math.max(Math.ceil(last / MAX_TICKS), 1);
  for (let epoch = 0; epoch <= last; epoch += step) {
    const name = epoch ? String(epoch) : "head";
    chart.append(svg("text", { x: x(epoch), y: HEIGHT - 8, "text-anchor": "middle" }, name));
  }
  for (const mode of MODES) chart.append(...series(mode, history, x, y));
  return chart;
}

/**
 * @param {"es" | "hds" | "bcs"} mode
 * @param {Epoch[]} history
 * @param {(epoch: number) => number} x
 * @param {(value: number) => number} y
 */
function series(mode, history, x, y) {
  const points = history.flatMap((one) => (one[mode] === null ? [] : [[x(one.epoch), y(one[mode])]]));
  if (!points.length) return [];
  const [right, height] = points[points.length - 1];
  return [
    svg("polyline", { points: points.map((point) => point.join(",")).join(" "), class: mode }),
    svg("circle", { cx: right, cy: height, r: 3, class: mode }),
    svg("text", { x: right + 7, y: height + 4, class: mode }, mode),
  ];
}

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {...string} children
 */
function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** @param {number | null} value */
export function format(value) {
  return value === null ? "–" : value.toFixed(3);
}
