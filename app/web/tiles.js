/**
 * Pictures of the catalogue as tiles: each is a link that searches with it.
 */

import { counted, el, image, measured, plain } from "./dom.js";

/** @import { Match, Picture } from "./api.js" */
/** @import { UrlOf } from "./route.js" */

const FACTS_ON_TILE = 3;

/**
 * @param {Picture[]} pictures
 * @param {UrlOf} urlOf
 */
export function sampleList(pictures, urlOf) {
  return el("ul", { className: "tiles" }, ...pictures.map((picture) => el("li", {}, tile(picture, urlOf))));
}

/**
 * @param {Match[]} matches
 * @param {UrlOf} urlOf
 */
export function matchList(matches, urlOf) {
  const furthest = Math.max(...matches.map(farness));
  const items = matches.map((match) => el("li", {}, tile(match, urlOf, ...closeness(match, furthest))));
  return el("ol", { className: "tiles" }, ...items);
}

/**
 * @param {Picture} picture
 * @param {UrlOf} urlOf
 * @param {...Node} more
 */
function tile({ id, key, label, metadata, thumbnail_url: thumbnail }, urlOf, ...more) {
  const href = urlOf({ id: String(id), upload: null });
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

/** @param {Match} match */
function farness({ distance, hamming }) {
  return distance ?? hamming ?? 0;
}

/**
 * @param {Match} match
 * @param {number} furthest
 */
function closeness(match, furthest) {
  const fill = el("span");
  fill.style.width = `${furthest ? (100 * farness(match)) / furthest : 0}%`;
  const numbers = el("span", { className: "numbers" });
  if (match.distance !== null) numbers.append(el("span", {}, `distance ${measured(match.distance)}`), " ");
  if (match.hamming !== null)
    numbers.append(el("span", { title: "in which the codes differ" }, counted(match.hamming, "bit")));
  return [el("span", { className: "farness" }, fill), numbers];
}
