/** Start view: browse the catalogue page by page, optionally filtered. */

import { getStats, listPictures } from "../api/client.js";
import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { pluralise } from "../common/format.js";
import { pictureTiles } from "../search/tiles.js";
import { emptyView } from "../search/views.js";

/** @import { PicturePage, Stats } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */
/** @import { Query } from "../search/query.js" */
/** @import { View } from "../search/views.js" */

export const PAGE_SIZE = 24;
const MAX_PAGE_SIZE = 1000;

/**
 * @param {Query} query only `label` and `filter` are used
 * @param {number} count number of pictures to load first
 * @param {UrlOf} urlOf
 * @param {(count: number) => void} onMore called with the number of pictures after each further page
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function startView(query, count, urlOf, onMore, signal) {
  const firstPage = listPictures(query, Math.min(count, MAX_PAGE_SIZE), null, signal);
  const [page, stats] = await Promise.all([firstPage, getStats(signal)]);
  const filtered = query.label !== null || query.filter !== null;
  if (!page.items.length && !filtered) return emptyView();
  const heading = filtered ? matchCount(page) : "Try one of these";
  const note = filtered ? "" : catalogueNote(stats);
  const pictures = pictureBrowser(query, page, urlOf, onMore);
  if (page.items.length) return { heading, note, warnings: [], pictures, queryImage: null, response: null };
  return { ...emptyView(), heading: "No pictures match", warnings: page.warnings, pictures };
}

/**
 * Describe the catalogue, and name the shipped model that replaces an older one.
 *
 * @param {Stats} stats
 */
function catalogueNote({ images, model, adaptation, better_model: better }) {
  const size = `${pluralise(images, "picture")} to search`;
  if (!better) return model.adapted && adaptation ? `${size}. ${adaptationNote(adaptation)}` : size;
  const minutes = pluralise(Math.max(1, Math.round(better.estimated_seconds / 60)), "minute");
  return `${size}. The model ${better.name} finds more: ${better.command} (about ${minutes}).`;
}

/**
 * Describe what codes that were fitted to the catalogue gain.
 *
 * @param {NonNullable<Stats["adaptation"]>} adaptation
 */
function adaptationNote({ before, after }) {
  const [old, now] = [before, after].map(({ codes }) => `${Math.round(100 * codes)}%`);
  return `The codes are fitted to these pictures: alone they find ${now} of the nearest, ${old} before.`;
}

/**
 * Describe the number of matches. The API returns pages without a total, so it is exact only on the last page.
 *
 * @param {PicturePage} page
 */
function matchCount({ items, next_cursor: cursor }) {
  const verb = items.length === 1 && !cursor ? "matches" : "match";
  return `${cursor ? "More than " : ""}${pluralise(items.length, "picture")} ${verb}`;
}

/**
 * @param {Query} query
 * @param {PicturePage} first
 * @param {UrlOf} urlOf
 * @param {(count: number) => void} onMore
 */
function pictureBrowser(query, first, urlOf, onMore) {
  const list = el("ul", { className: "tiles" }, ...pictureTiles(first.items, urlOf));
  const message = el("p", { className: "error", role: "alert" });
  let cursor = first.next_cursor;
  const more = button("Show more", async () => {
    more.disabled = true;
    message.textContent = "";
    try {
      const page = await listPictures(query, PAGE_SIZE, cursor);
      cursor = page.next_cursor;
      const tiles = pictureTiles(page.items, urlOf);
      list.append(...tiles);
      more.hidden = !cursor;
      tiles[0]?.querySelector("a")?.focus({ preventScroll: true });
      onMore(list.childElementCount);
    } catch (error) {
      message.textContent = messageOf(error);
    }
    more.disabled = false;
  });
  Object.assign(more, { className: "link more", hidden: !cursor });
  return el("div", { className: "browser" }, list, message, more);
}
