/** Duplicates view: groups of pictures that were saved again, or of near-duplicates, page by page. */

import { listDuplicates } from "../api/client.js";
import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { pluralise } from "../common/format.js";
import { NO_SOURCE } from "../navigation/route.js";
import { pictureTiles } from "../search/tiles.js";

/** @import { DuplicateGroup, DuplicateKind, DuplicatePage } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */
/** @import { View } from "../search/views.js" */

/** @type {Record<DuplicateKind, string>} */
const TITLES = { exact: "Same picture", near: "Nearly the same" };

/** @type {Record<DuplicateKind, string>} */
const NOTES = {
  exact: "Pictures that were scaled, saved again or added twice.",
  near: "Different pictures that look alike, such as mirrored ones or those on another background.",
};

/**
 * @param {DuplicateKind} kind
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function duplicatesView(kind, urlOf, signal) {
  const first = await nextGroups(kind, null, signal);
  const pictures = el("div", {}, kindSwitch(kind, urlOf), groupBrowser(kind, first, urlOf));
  const heading = first.groups.length ? "Duplicates" : "No duplicates";
  return { heading, note: NOTES[kind], warnings: [], pictures, queryImage: null, response: null };
}

/**
 * Load pages until one has a group, since most pages of a large catalogue may have none.
 *
 * @param {DuplicateKind} kind
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<DuplicatePage>}
 */
async function nextGroups(kind, cursor, signal) {
  let page = await listDuplicates(kind, cursor, signal);
  while (!page.groups.length && page.next_cursor) page = await listDuplicates(kind, page.next_cursor, signal);
  return page;
}

/**
 * @param {DuplicateKind} shown
 * @param {UrlOf} urlOf
 */
function kindSwitch(shown, urlOf) {
  const links = /** @type {DuplicateKind[]} */ (Object.keys(TITLES)).map((kind) => {
    const link = el("a", { href: urlOf({ ...NO_SOURCE, duplicates: kind }) }, TITLES[kind]);
    if (kind === shown) link.ariaCurrent = "page";
    return link;
  });
  return el("nav", { className: "segments", ariaLabel: "Kind of duplicates" }, ...links);
}

/**
 * @param {DuplicateKind} kind
 * @param {DuplicatePage} first
 * @param {UrlOf} urlOf
 */
function groupBrowser(kind, first, urlOf) {
  const list = el("ol", { className: "groups" }, ...first.groups.map((group) => groupItem(group, urlOf)));
  const message = el("p", { className: "error", role: "alert" });
  let cursor = first.next_cursor;
  const more = button("Show more", async () => {
    more.disabled = true;
    message.textContent = "";
    try {
      const page = await nextGroups(kind, cursor);
      cursor = page.next_cursor;
      list.append(...page.groups.map((group) => groupItem(group, urlOf)));
      more.hidden = !cursor;
    } catch (error) {
      message.textContent = messageOf(error);
    }
    more.disabled = false;
  });
  Object.assign(more, { className: "link more", hidden: !cursor });
  return el("div", { className: "browser" }, list, message, more);
}

/**
 * @param {DuplicateGroup} group
 * @param {UrlOf} urlOf
 */
function groupItem({ image, duplicates, complete }, urlOf) {
  const count = `${complete ? "" : "More than "}${pluralise(duplicates.length + 1, "picture")}`;
  const tiles = el("ul", { className: "tiles" }, ...pictureTiles([image, ...duplicates], urlOf));
  return el("li", {}, el("h3", {}, count), tiles);
}
