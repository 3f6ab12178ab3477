/** Catalogue pictures as tiles; each tile is a link that searches with its picture. */

import { button, el, image } from "../common/dom.js";
import { displayText, formatDistance, formatPercent, pluralise } from "../common/format.js";
import { NO_SOURCE } from "../navigation/route.js";

/** @import { Match, Picture, SearchResponse } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */

const MAX_FIELDS = 3;
const UNRELATED = "unrelated";

/**
 * @param {Picture[]} pictures
 * @param {UrlOf} urlOf
 */
export function pictureTiles(pictures, urlOf) {
  return pictures.map((picture) => el("li", {}, tile(picture, urlOf)));
}

/**
 * @param {SearchResponse} response
 * @param {Match[]} matches the response's matches to show
 * @param {UrlOf} urlOf
 * @param {(match: Match) => void} onWhy
 */
export function matchList({ mode }, matches, urlOf, onWhy) {
  const maxDistance = Math.max(...matches.map(({ distance }) => distance));
  const tiles = matches.map((match) => {
    const name = match.label || match.key;
    const why = button("Why?", () => onWhy(match), { className: "why", ariaLabel: `Why was ${name} found?` });
    return el("li", {}, tile(match, urlOf, ...scores(match, maxDistance, mode)), why);
  });
  const related = matches.filter(({ similarity_band: band }) => band !== UNRELATED).length;
  const list = related ? [el("ol", { className: "tiles" }, ...tiles.slice(0, related))] : [];
  return el("div", {}, ...list, ...unrelatedTiles(tiles.slice(related), related));
}

/**
 * Fold unrelated matches, which fill a list when a filter leaves nothing else; unless there are no others.
 *
 * @param {HTMLElement[]} tiles
 * @param {number} related number of the matches before them
 */
function unrelatedTiles(tiles, related) {
  if (!tiles.length) return [];
  const summary = el("summary", {}, pluralise(tiles.length, "unrelated picture"));
  const list = el("ol", { className: "tiles", start: related + 1 }, ...tiles);
  return [el("details", { className: "unrelated", open: !related }, summary, list)];
}

/**
 * @param {Picture} picture
 * @param {UrlOf} urlOf
 * @param {...Node} details
 */
function tile({ id, key, label, metadata, thumbnail_url: thumbnail }, urlOf, ...details) {
  const href = urlOf({ ...NO_SOURCE, id: String(id) });
  const link = el("a", { className: "tile", href, title: `${label ?? ""} ${key}`.trim() });
  link.dataset.id = String(id);
  const texts = { label: label || key, key: label ? key : "", metadata: fieldSummary(metadata) };
  const lines = Object.entries(texts).filter(([, text]) => text);
  link.append(
    image(thumbnail, ""),
    ...lines.map(([className, text]) => el("span", { className }, text)),
    ...details,
  );
  return link;
}

/** @param {Record<string, unknown>} metadata */
function fieldSummary(metadata) {
  const shown = Object.entries(metadata).slice(0, MAX_FIELDS);
  return shown.map(([name, value]) => `${name}: ${displayText(value)}`).join(" · ");
}

/**
 * Show a match's similarity, or its distance relative to the farthest match if the network has no calibration.
 *
 * @param {Match} match
 * @param {number} maxDistance
 * @param {string} mode
 */
function scores({ distance, hamming, similarity, similarity_band: band }, maxDistance, mode) {
  const fill = el("span");
  fill.style.width = `${100 * (similarity ?? (maxDistance && distance / maxDistance))}%`;
  const bar = el("span", { className: "score-bar" }, fill);
  const percentage =
    similarity === null
      ? []
      : [el("span", { className: "similarity", title: band ?? "" }, `${formatPercent(similarity)} similar`)];
  const distances = el("span", { className: "distances" });
  const codesOnly = mode === "bcs"; // its distance is the Hamming distance
  if (!codesOnly) distances.append(el("span", {}, `distance ${formatDistance(distance)}`), " ");
  distances.append(
    el("span", { title: "Number of bits in which the codes differ" }, pluralise(hamming, "bit")),
  );
  return [el("span", { className: "scores" }, bar, ...percentage), distances];
}
