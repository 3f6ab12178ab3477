/** Why a picture was found: plain reasons first, then ranks, distances and code bits for engineers. */

import { el } from "../common/dom.js";
import { displayText, formatDistance, formatPercent } from "../common/format.js";
import { bandText } from "../search/tiles.js";
import { codeGrid } from "./code-grid.js";

/** @import { Match, Picture, SearchResponse } from "../api/client.js" */

const BITS_PER_HEX_DIGIT = 4;
const MAX_SAME_FIELDS = 4;

/**
 * @param {Match} match
 * @param {SearchResponse} response the response that contains the match
 * @param {Picture[]} examples the catalogue pictures that were searched with
 */
export function reasons(match, response, examples) {
  const plain = plainReasons(match, examples).map((text) => el("li", {}, text));
  const figures = el("details", {}, el("summary", {}, "Distances and code bits"), scoreList(match, response), codeComparison(match));
  return el("section", { className: "reasons" }, el("h3", {}, "Why was this found?"), el("ul", {}, ...plain), figures);
}

/**
 * @param {Match} match
 * @param {Picture[]} examples
 * @returns {string[]}
 */
function plainReasons(match, examples) {
  const [example] = examples;
  const band = match.similarity_band;
  const look = band === null ? "It is among the nearest pictures" : `${bandText(band)} in shape, colour and pattern`;
  if (!example) return [look];
  const label = match.label && match.label === example.label ? [`Same label: ${match.label}`] : [];
  const same = Object.entries(match.metadata).filter(([name, value]) => isEqual(value, example.metadata[name]));
  const fields = same.slice(0, MAX_SAME_FIELDS).map(([name, value]) => `Same ${name}: ${displayText(value)}`);
  return [look, ...label, ...fields];
}

/**
 * @param {unknown} value
 * @param {unknown} other
 */
function isEqual(value, other) {
  return value !== null && value !== "" && typeof value !== "object" && value === other;
}

/**
 * @param {Match} match
 * @param {SearchResponse} response
 */
function scoreList(match, { mode, results, pool_size: poolSize }) {
  const { distance, similarity, similarity_band: band, id, explanation } = match;
  const rank = results.findIndex((other) => other.id === id) + 1;
  const { coarse_rank: codeRank } = explanation;
  const total = mode === "hds" ? ` of ${poolSize.toLocaleString("en")}` : "";
  const rows = [
    ...(similarity === null ? [] : [row("Similarity", `${formatPercent(similarity)}, ${band}`)]),
    ...(mode === "bcs" ? [] : [row("Distance", formatDistance(distance))]),
    row("Rank by code", codeRank === null ? "not used" : `${codeRank}${total}`),
    ...(mode === "bcs" ? [] : [row("Rank by features", String(rank))]),
  ];
  return el("dl", { className: "score-list" }, ...rows);
}

/**
 * @param {string} name
 * @param {string} value
 */
function row(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

/** @param {Match} match */
function codeComparison({ explanation: { code, differing_bits: differing } }) {
  const total = code.length * BITS_PER_HEX_DIGIT;
  const text = differing.length
    ? `${differing.length} of ${total} code bits differ`
    : `All ${total} code bits are equal`;
  return el("div", { className: "code" }, el("p", {}, text), codeGrid(code, differing, `${text}.`));
}
