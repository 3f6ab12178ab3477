/** Load search results from the API and build the content of a view, independent of its place in the document. */

import { getOriginal, getPicture, searchByFile, searchById, withOneMoreResult } from "../api/client.js";
import { emptyCatalogue } from "../browse/empty-catalogue.js";
import { el } from "../common/dom.js";
import { openExplanation } from "./explanation.js";
import { matchList } from "./tiles.js";

/** @import { Match, Picture, SearchResponse } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */
/** @import { QueryImage } from "./query-panel.js" */
/** @import { Query } from "./query.js" */
/** @import { Selectable } from "../select/attach.js" */

/** @typedef {{file: File, queryImage: QueryImage}} Upload */

/**
 * @typedef {object} View
 * @property {string} heading
 * @property {string} note
 * @property {string[]} warnings about the result, such as why it is empty
 * @property {Node} pictures
 * @property {QueryImage | null} queryImage
 * @property {SearchResponse | null} response
 * @property {Selectable | null} [selectable] what its tiles offer for selecting; null if they cannot be selected
 */

/**
 * @param {Upload} upload
 * @param {string | null} crop
 * @param {Query} query
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function uploadView({ file, queryImage }, crop, query, urlOf, signal) {
  const response = await searchByFile(file, crop, query, signal);
  return matchesView(queryImage, response, response.results, urlOf);
}

/**
 * @param {string} id
 * @param {string | null} crop
 * @param {Query} query
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function pictureView(id, crop, query, urlOf, signal) {
  const [picture, response] = await (crop
    ? searchByCrop(id, crop, query, signal)
    : Promise.all([getPicture(id, signal), searchById(id, withOneMoreResult(query), signal)]));
  const others = response.results.filter((match) => match.id !== picture.id).slice(0, query.k);
  return matchesView(toQueryImage(picture), response, others, urlOf);
}

/**
 * Search with a crop of a catalogue picture. The API crops only uploads, so the original is sent back as one.
 *
 * @param {string} id
 * @param {string} crop
 * @param {Query} query
 * @param {AbortSignal} signal
 * @returns {Promise<[Picture, SearchResponse]>}
 */
async function searchByCrop(id, crop, query, signal) {
  const picture = await getPicture(id, signal);
  const original = await getOriginal(picture, signal);
  return [picture, await searchByFile(original, crop, withOneMoreResult(query), signal)];
}

/**
 * @param {Picture} picture
 * @returns {QueryImage}
 */
function toQueryImage(picture) {
  const { key, label, thumbnail_url: thumbnail, image_url: original } = picture;
  return { title: label || key, subtitle: label ? key : "", thumbnail, original, picture, file: null };
}

/**
 * @param {File} file
 * @returns {Upload}
 */
export function toUpload(file) {
  const preview = URL.createObjectURL(file);
  const queryImage = {
    title: "Your picture",
    subtitle: file.name,
    thumbnail: preview,
    original: preview,
    picture: null,
    file,
  };
  return { file, queryImage };
}

/**
 * @param {QueryImage} queryImage
 * @param {SearchResponse} response
 * @param {Match[]} matches
 * @param {UrlOf} urlOf
 * @returns {View}
 */
function matchesView(queryImage, response, matches, urlOf) {
  const { warnings } = response;
  if (!response.catalogue_size) return { ...emptyView(), queryImage, response };
  if (!matches.length)
    return { heading: "No pictures found", note: "", warnings, pictures: hint(), queryImage, response };
  const pictures = matchList(response, matches, urlOf, (match) =>
    openExplanation(match, response, queryImage),
  );
  return { heading: "Most similar first", note: "", warnings, pictures, queryImage, response };
}

function hint() {
  return el("p", { className: "hint" }, "Remove a filter or relax the search options to find more.");
}

/** @returns {View} */
export function emptyView() {
  const heading = "The catalogue is empty";
  return { heading, note: "", warnings: [], pictures: emptyCatalogue(), queryImage: null, response: null };
}
