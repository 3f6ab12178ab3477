/** Why a picture was found: it beside the query, how alike they are, the bits that differ, and each step's place. */

import { bitGrid } from "./bits.js";
import { openDialog } from "./dialog.js";
import { el, image, measured, percent } from "./dom.js";

/** @import { Answer, Match } from "./api.js" */
/** @import { Query } from "./panel.js" */

const BITS_OF_DIGIT = 4;

/**
 * @param {Match} match
 * @param {Answer} answer that it is of
 * @param {Query} query
 */
export function openWhy(match, answer, query) {
  const pair = el(
    "div",
    { className: "pair" },
    figure(query.thumbnail, query.title, "Searched with"),
    figure(match.thumbnail_url, match.label || match.key, "Found"),
  );
  openDialog("Why is this here?", "explanation", pair, sums(match, answer), code(match));
}

/**
 * @param {string} src
 * @param {string} name
 * @param {string} role
 */
function figure(src, name, role) {
  return el("figure", {}, image(src, ""), el("figcaption", {}, el("span", {}, role), name));
}

/**
 * @param {Match} match
 * @param {Answer} answer
 */
function sums({ distance, similarity, id, explanation }, { mode, results, pool_size: pool }) {
  const place = results.findIndex((other) => other.id === id) + 1;
  const { coarse_rank: before } = explanation;
  const among = mode === "hds" ? ` of ${pool.toLocaleString("en")}` : "";
  const rows = [
    ...(similarity === null ? [] : [row("Similarity", percent(similarity))]),
    ...(mode === "bcs" ? [] : [row("Distance", measured(distance))]),
    row("Place by code", before === null ? "not looked at" : `${before}${among}`),
    ...(mode === "bcs" ? [] : [row("Place by features", String(place))]),
  ];
  return el("dl", { className: "sums" }, ...rows);
}

/**
 * @param {string} name
 * @param {string} value
 */
function row(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

/** @param {Match} match */
function code({ explanation: { code, differing_bits: bits } }) {
  const total = code.length * BITS_OF_DIGIT;
  const sentence = bits.length
    ? `${bits.length} of ${total} bits of the codes differ`
    : `All ${total} bits of the codes agree`;
  return el("div", { className: "code" }, el("p", {}, sentence), bitGrid(code, bits, `${sentence}.`));
}
