/** Catalogue pictures as tiles. A click opens the panel; the link itself leads to a search with the picture. */

import { el, image } from "../common/dom.js";
import { NO_SOURCE } from "../navigation/route.js";
import { captionLine, captionTitle } from "./captions.js";

/** @import { Match, Picture } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */

const UNRELATED = "unrelated";

/** @type {WeakMap<Element, Picture>} the picture of each tile */
const pictures = new WeakMap();

/**
 * @param {Element} tile
 * @returns {Picture | undefined}
 */
export function pictureOf(tile) {
  return pictures.get(tile);
}

/**
 * @param {Picture[]} pictures
 * @param {UrlOf} urlOf
 */
export function pictureTiles(pictures, urlOf) {
  return pictures.map((picture) => el("li", {}, tile(picture, urlOf, null)));
}

/**
 * @param {Match[]} matches
 * @param {UrlOf} urlOf
 */
export function matchList(matches, urlOf) {
  const tiles = matches.map((match) => el("li", {}, tile(match, urlOf, match.similarity_band)));
  const related = matches.filter(({ similarity_band: band }) => band !== UNRELATED).length;
  const list = related ? [el("ol", { className: "tiles" }, ...tiles.slice(0, related))] : [];
  return el("div", {}, ...list, ...lessSimilar(tiles.slice(related), related));
}

/**
 * Fold unrelated matches, which fill a list when a filter leaves nothing else; unless there are no others.
 *
 * @param {HTMLElement[]} tiles
 * @param {number} related number of the matches before them
 */
function lessSimilar(tiles, related) {
  if (!tiles.length) return [];
  const summary = el("summary", {}, `Less similar (${tiles.length})`);
  const list = el("ol", { className: "tiles", start: related + 1 }, ...tiles);
  return [el("details", { className: "less-similar", open: !related }, summary, list)];
}

/** @type {string | null} id of the picture in the panel */
let current = null;

/**
 * Mark the tile of the picture in the panel, also one that is created later.
 *
 * @param {string | null} id
 */
export function markCurrent(id) {
  current = id;
  const tiles = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#pictures a.tile"));
  for (const tile of tiles) tile.ariaCurrent = tile.dataset.id === id ? "true" : null;
}

/**
 * @param {string} band name of a range of similarities
 * @returns {string} such as "Very similar"
 */
export function bandText(band) {
  return band.charAt(0).toUpperCase() + band.slice(1);
}

/**
 * @param {Picture} picture
 * @param {UrlOf} urlOf
 * @param {string | null} band
 */
function tile(picture, urlOf, band) {
  const { id, thumbnail_url: thumbnail } = picture;
  const link = el("a", { className: "tile", href: urlOf({ ...NO_SOURCE, id: String(id) }) });
  link.dataset.id = String(id);
  if (link.dataset.id === current) link.ariaCurrent = "true";
  const thumb = image(thumbnail, "", { loading: "lazy" });
  const similarity = band && band !== UNRELATED ? [el("span", { className: "band" }, bandText(band))] : [];
  const below = el("span", { className: "below" }, el("span", { className: "line" }), ...similarity);
  link.append(el("span", { className: "frame" }, thumb), el("span", { className: "title" }), below);
  pictures.set(link, picture);
  showCaption(link);
  return link;
}

/**
 * Set a tile's texts, also when the user has chosen other fields.
 *
 * @param {Element} tile
 */
export function showCaption(tile) {
  const picture = pictureOf(tile);
  if (!picture) return;
  const title = captionTitle(picture);
  /** @type {HTMLElement} */ (tile).title = title;
  const line = captionLine(picture, tile.querySelector(".band") ? 1 : undefined); // both share a line
  for (const [name, text] of [["title", title], ["line", line]])
    /** @type {HTMLElement} */ (tile.querySelector(`.${name}`)).textContent = text;
}
