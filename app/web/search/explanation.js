/** Dialog that explains a match: both pictures, their similarity, the ranks by each step, and the differing bits. */

import { openDialog } from "../common/dialog.js";
import { el, image } from "../common/dom.js";
import { formatDistance, formatPercent } from "../common/format.js";
import { codeGrid } from "./code-grid.js";

/** @import { Match, SearchResponse } from "../api/client.js" */
/** @import { QueryImage } from "./query-panel.js" */

const BITS_PER_HEX_DIGIT = 4;

/**
 * @param {Match} match
 * @param {SearchResponse} response the response that contains the match
 * @param {QueryImage} queryImage
 */
export function openExplanation(match, response, queryImage) {
  const pair = el(
    "div",
    { className: "pair" },
    figure(queryImage.thumbnail, queryImage.title, "Query"),
    figure(match.thumbnail_url, match.label || match.key, "Match"),
  );
  openDialog(
    "Why was this found?",
    "explanation",
    pair,
    scoreList(match, response),
    codeComparison(match),
    seenByModel(match),
  );
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

/**
 * The pixels that the model reads of the match.
 *
 * @param {Match} match
 */
function seenByModel({ image_url: imageUrl }) {
  const seen = image(imageUrl.replace(/original$/, "seen"), "The match as the model sees it");
  return el("figure", { className: "seen" }, seen, el("figcaption", {}, "What the model sees of the match"));
}

/** @param {Match} match */
function codeComparison({ explanation: { code, differing_bits: differing } }) {
  const total = code.length * BITS_PER_HEX_DIGIT;
  const text = differing.length
    ? `${differing.length} of ${total} code bits differ`
    : `All ${total} code bits are equal`;
  return el("div", { className: "code" }, el("p", {}, text), codeGrid(code, differing, `${text}.`));
}
