/**
 * Pictures of the catalogue as tiles: each is a link that searches with it.
 */

import { button, counted, el, image, measured, percent, plain } from "./dom.js";
import { NOTHING } from "./route.js";

/** @import { Answer, Match, Picture } from "./api.js" */
/** @import { UrlOf } from "./route.js" */

const FACTS_ON_TILE = 3;

/**
 * @param {Picture[]} pictures
 * @param {UrlOf} urlOf
 */
export function sampleTiles(pictures, urlOf) {
  return pictures.map((picture) => el("li", {}, tile(picture, urlOf)));
}

/**
 * @param {Answer} answer
 * @param {Match[]} matches those of the answer to show
 * @param {UrlOf} urlOf
 * @param {(match: Match) => void} onWhy
 */
export function matchList({ mode }, matches, urlOf, onWhy) {
  const furthest = Math.max(...matches.map(({ distance }) => distance));
  const items = matches.map((match) => {
    const name = match.label || match.key;
    const why = button("Why?", () => onWhy(match), { className: "why", ariaLabel: `Why is ${name} here?` });
    return el("li", {}, tile(match, urlOf, ...closeness(match, furthest, mode)), why);
  });
  return el("ol", { className: "tiles" }, ...items);
}

/**
 * @param {Picture} picture
 * @param {UrlOf} urlOf
 * @param {...Node} more
 */
function tile({ id, key, label, metadata, thumbnail_url: thumbnail }, urlOf, ...more) {
  const href = urlOf({ ...NOTHING, id: String(id) });
  const link = el("a", { className: "tile", href, title: `${label ?? ""} ${key}`.trim() });
  link.dataset.id = String(id);
  const texts = { label: label || key, key: label ? key : "", facts: facts(metadata) };
  const lines = Object.entries(texts).filter(([, text]) => text);
  link.append(
    image(thumbnail, ""),
    ...lines.map(([className, text]) => el("span", { className }, text)),
    ...more,
  );
  return link;
}

/** @param {Record<string, unknown>} metadata */
function facts(metadata) {
  const shown = Object.entries(metadata).slice(0, FACTS_ON_TILE);
  return shown.map(([name, value]) => `${name}: ${plain(value)}`).join(" · ");
}

/**
 * How similar a match is; where the network cannot tell, how far away beside the furthest.
 *
 * @param {Match} match
 * @param {number} furthest
 * @param {string} mode
 */
function closeness({ distance, hamming, similarity }, furthest, mode) {
  const fill = el("span");
  fill.style.width = `${100 * (similarity ?? (furthest && distance / furthest))}%`;
  const bar = el("span", { className: "bar-well" }, fill);
  const share =
    similarity === null ? [] : [el("span", { className: "similarity" }, `${percent(similarity)} similar`)];
  const numbers = el("span", { className: "numbers" });
  const onlyBits = mode === "bcs"; // whose distance is the number of bits
  if (!onlyBits) numbers.append(el("span", {}, `distance ${measured(distance)}`), " ");
  numbers.append(el("span", { title: "in which the codes differ" }, counted(hamming, "bit")));
  return [el("span", { className: "closeness" }, bar, ...share), numbers];
}
