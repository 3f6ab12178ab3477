/** Review of duplicates: groups of pictures that were saved again, or of near-duplicates, page by page. */

import { listDuplicates, listPictures } from "../api/client.js";
import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { stringifyJson } from "../common/json.js";
import { NO_SOURCE } from "../navigation/route.js";
import { DEFAULTS } from "../search/query.js";
import { Group } from "./group.js";

/** @import { DuplicateKind, DuplicatePage, Picture } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */
/** @import { View } from "../search/views.js" */

const CHUNK = 50; // values in a filter

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
  return { heading, note: NOTES[kind], warnings: [], pictures, queryImage: null, response: null, selectable: null };
}

/**
 * Load pages until one has a group, since most pages of a large catalogue may have none. Its pictures get their sizes,
 * which a list of duplicates does not have.
 *
 * @param {DuplicateKind} kind
 * @param {string | null} cursor
 * @param {AbortSignal} [signal]
 * @returns {Promise<DuplicatePage>}
 */
async function nextGroups(kind, cursor, signal) {
  let page = await listDuplicates(kind, cursor, signal);
  while (!page.groups.length && page.next_cursor) page = await listDuplicates(kind, page.next_cursor, signal);
  const whole = await loadWhole(page.groups.flatMap(({ image, duplicates }) => [image, ...duplicates]), signal);
  const groups = page.groups.map(({ image, duplicates, complete }) => {
    return { image: whole(image), duplicates: duplicates.map(whole), complete };
  });
  return { ...page, groups };
}

/**
 * @param {Picture[]} pictures
 * @param {AbortSignal} [signal]
 * @returns {Promise<(picture: Picture) => Picture>} returns a picture with its size
 */
async function loadWhole(pictures, signal) {
  const starts = Array.from({ length: Math.ceil(pictures.length / CHUNK) }, (_, index) => index * CHUNK);
  const pages = starts.map((start) => {
    const keys = pictures.slice(start, start + CHUNK).map(({ key }) => key);
    return listPictures({ ...DEFAULTS, filter: stringifyJson({ key: { $in: keys } }) }, CHUNK, null, signal);
  });
  const found = (await Promise.all(pages)).flatMap(({ items }) => items);
  const byId = new Map(found.map((picture) => [picture.id, picture]));
  return (picture) => byId.get(picture.id) ?? picture;
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
  const items = (/** @type {DuplicatePage} */ { groups }) => groups.map((group) => new Group(group, urlOf).element);
  const list = el("ol", { className: "groups" }, ...items(first));
  const message = el("p", { className: "error", role: "alert" });
  let cursor = first.next_cursor;
  const more = button("Show more", async () => {
    more.disabled = true;
    message.textContent = "";
    try {
      const page = await nextGroups(kind, cursor);
      cursor = page.next_cursor;
      list.append(...items(page));
      more.hidden = !cursor;
    } catch (error) {
      message.textContent = messageOf(error);
    }
    more.disabled = false;
  });
  Object.assign(more, { className: "secondary more", hidden: !cursor });
  return el("div", { className: "review" }, list, message, more);
}
