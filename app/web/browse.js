/** The start, which is the catalogue from its beginning: a page of it, and more on demand. */

import { getStats, listPictures } from "./api.js";
import { button, counted, el } from "./dom.js";
import { sampleTiles } from "./tiles.js";
import { emptyView } from "./views.js";

/** @import { PicturePage } from "./api.js" */
/** @import { Asked } from "./asked.js" */
/** @import { UrlOf } from "./route.js" */
/** @import { View } from "./views.js" */

export const PAGE = 24;
const MOST_AT_ONCE = 1000;

/**
 * @param {Asked} asked
 * @param {number} shown how many to begin with
 * @param {UrlOf} urlOf
 * @param {(shown: number) => void} onMore
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function startView(asked, shown, urlOf, onMore, signal) {
  const pages = listPictures(asked, Math.min(shown, MOST_AT_ONCE), null, signal);
  const [page, { images }] = await Promise.all([pages, getStats(signal)]);
  const narrowed = asked.label !== null || asked.filter !== null;
  if (!page.items.length && !narrowed) return emptyView();
  const heading = narrowed ? "What passes your filters" : "Try one of these";
  const note = narrowed ? "" : `${counted(images, "picture")} to search`;
  const pictures = browser(asked, page, urlOf, onMore);
  if (page.items.length) return { heading, note, warnings: [], pictures, query: null, answer: null };
  return { ...emptyView(), heading: "No picture passes your filters", warnings: page.warnings, pictures };
}

/**
 * @param {Asked} asked
 * @param {PicturePage} first
 * @param {UrlOf} urlOf
 * @param {(shown: number) => void} onMore
 */
function browser(asked, first, urlOf, onMore) {
  const list = el("ul", { className: "tiles" }, ...sampleTiles(first.items, urlOf));
  const trouble = el("p", { className: "trouble", role: "alert" });
  let cursor = first.next_cursor;
  const more = button("Show more", async () => {
    more.disabled = true;
    trouble.textContent = "";
    try {
      const page = await listPictures(asked, PAGE, cursor);
      cursor = page.next_cursor;
      const tiles = sampleTiles(page.items, urlOf);
      list.append(...tiles);
      more.hidden = !cursor;
      tiles[0]?.querySelector("a")?.focus({ preventScroll: true });
      onMore(list.childElementCount);
    } catch (error) {
      trouble.textContent = error instanceof Error ? error.message : String(error);
    }
    more.disabled = false;
  });
  Object.assign(more, { className: "light more", hidden: !cursor });
  return el("div", { className: "browser" }, list, trouble, more);
}
