/** Start view: browse the catalogue in any order, optionally filtered. */

import { getFacets, getStats, listPictures } from "../api/client.js";
import { el } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { routeUrl } from "../navigation/route.js";
import { DEFAULTS, isFiltered, nonDefaults } from "../search/query.js";
import { pictureTiles } from "../search/tiles.js";
import { emptyView } from "../search/views.js";
import { labelChips } from "./label-chips.js";
import { Listing } from "./listing.js";
import { PictureGrid } from "./picture-grid.js";
import { MIXED, sortMenu } from "./sort-menu.js";

/** @import { Stats } from "../api/client.js" */
/** @import { Source } from "../navigation/route.js" */
/** @import { Query } from "../search/query.js" */
/** @import { SearchRequest, View } from "../search/views.js" */

const FIRST_PAGE = 100;

/**
 * @param {Query} query only `label`, `filter` and `sort` are used
 * @param {(change: Partial<Query>) => void} changeQuery
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function startView(query, changeQuery, signal) {
  const sort = query.sort ?? MIXED;
  const sorted = { ...query, sort };
  const firstPage = listPictures(sorted, FIRST_PAGE, null, signal);
  const [page, stats] = await Promise.all([firstPage, getStats(signal)]);
  const filtered = isFiltered(query);
  if (!page.items.length && !filtered) return emptyView();
  const listing = new Listing(page, (limit, cursor) => listPictures(sorted, limit, cursor));
  const request = filtered ? toRequest(sorted) : undefined;
  const pictures = el("div", {}, browseBar(query, sort, changeQuery, signal));
  if (!page.items.length)
    return { ...emptyView(), heading: "No pictures match", warnings: page.warnings, pictures, request };
  // A search is not sorted as the catalogue is.
  const urlOf = (/** @type {Source} */ source) => routeUrl({ ...source, query: { ...query, sort: null } });
  const grid = PictureGrid.create(listing, (picture) => pictureTiles([picture], urlOf)[0]);
  pictures.append(grid);
  const heading = filtered ? matchCount(listing.total) : "Try one of these";
  const note = filtered ? "" : catalogueNote(stats);
  const { label, filter, text } = query;
  const matching = { label, filter, text, count: listing.total };
  const selectable = { order: () => grid.ids, matching };
  const { total } = listing;
  return { heading, note, warnings: [], pictures, queryImage: null, response: null, selectable, total, request };
}

/**
 * @param {Query} query
 * @returns {SearchRequest}
 */
function toRequest({ label, filter, text, sort }) {
  const parameters = new URLSearchParams(nonDefaults({ ...DEFAULTS, label, filter, text, sort }));
  return { files: [], like: [], unlike: [], listed: true, parameters };
}

/**
 * The label chips and the sort menu. Labels and fields follow when they are counted, which reads every picture.
 *
 * @param {Query} query
 * @param {string} sort
 * @param {(change: Partial<Query>) => void} changeQuery
 * @param {AbortSignal} signal
 */
function browseBar(query, sort, changeQuery, signal) {
  const menu = sortMenu(sort, (chosen) => changeQuery({ sort: chosen === MIXED ? null : chosen }));
  const chips = el("nav", { className: "labels-nav", ariaLabel: "Labels" });
  getFacets({ ...query, label: null }, signal).then(
    ({ labels, fields }) => {
      chips.append(labelChips(query, labels));
      menu.offer(fields);
    },
    () => {}, // the pictures are there without them
  );
  return el("div", { className: "browse-bar" }, chips, menu.element);
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

/** @param {number} count */
function matchCount(count) {
  return `${pluralise(count, "picture")} ${count === 1 ? "matches" : "match"}`;
}
