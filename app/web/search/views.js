/** Load search results from the API and build the content of a view, independent of its place in the document. */

import { getOriginal, getPicture, searchByExamples, searchById, withMoreResults } from "../api/client.js";
import { emptyCatalogue } from "../browse/empty-catalogue.js";
import { el } from "../common/dom.js";
import { toParameters } from "./query.js";
import { matchList } from "./tiles.js";
import { toQueryImage } from "./upload.js";

/** @import { Picture, SearchResponse } from "../api/client.js" */
/** @import { Source, UrlOf } from "../navigation/route.js" */
/** @import { QueryImage, Upload } from "./upload.js" */
/** @import { Query } from "./query.js" */
/** @import { Selectable } from "../select/attach.js" */

/** @typedef {{like: Picture[], unlike: Picture[]}} Examples further examples, without the query image */

/**
 * @typedef {object} SearchRequest a search as the API takes it
 * @property {string[]} files names of the uploads
 * @property {number[]} like ids
 * @property {number[]} unlike
 * @property {boolean} [listed] whether it lists what words and filters find, without a picture to compare with
 * @property {URLSearchParams} parameters
 */

/**
 * @typedef {object} View
 * @property {string} heading
 * @property {string} note
 * @property {string[]} warnings about the result, such as why it is empty
 * @property {Node} pictures
 * @property {QueryImage | null} queryImage
 * @property {SearchResponse | null} response
 * @property {Selectable | null} [selectable] what its tiles offer for selecting; null if they cannot be selected
 * @property {Examples} [examples]
 * @property {SearchRequest} [request]
 * @property {number | null} [total] number of pictures that the view shows
 */

/**
 * @param {Upload} upload
 * @param {Source} source
 * @param {Query} query
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function uploadView({ queryImage, sent }, source, query, urlOf, signal) {
  const { blob, size } = await sent;
  const { crop, like = [], unlike = [] } = source;
  const wanted = withMoreResults(query, like.length + unlike.length);
  const [response, examples] = await Promise.all([
    searchByExamples({ file: blob, crop, like, unlike }, wanted, signal),
    getExamples(source, signal),
  ]);
  const request = toRequest(source, query, queryImage.subtitle);
  return { ...matchesView({ ...queryImage, size }, examples, response, query, urlOf), request };
}

/**
 * @param {Source & {id: string}} source
 * @param {Query} query
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function pictureView(source, query, urlOf, signal) {
  const { id, crop, like = [], unlike = [] } = source;
  const wanted = withMoreResults(query, 1 + like.length + unlike.length);
  const picture = getPicture(id, signal);
  const [queryPicture, response, examples] = await Promise.all([
    picture,
    crop
      ? searchByCrop(picture, { crop, like, unlike }, wanted, signal)
      : like.length + unlike.length
        ? searchByExamples({ file: null, crop, like: [id, ...like], unlike }, wanted, signal)
        : searchById(id, wanted, signal),
    getExamples(source, signal),
  ]);
  const request = toRequest(source, query, queryPicture.key);
  return { ...matchesView(toQueryImage(queryPicture), examples, response, query, urlOf), request };
}

/**
 * Search with a crop of a catalogue picture. The API crops only uploads, so the original is sent back as one.
 *
 * @param {Promise<Picture>} picture
 * @param {{crop: string, like: string[], unlike: string[]}} examples
 * @param {Query} query
 * @param {AbortSignal} signal
 * @returns {Promise<SearchResponse>}
 */
async function searchByCrop(picture, examples, query, signal) {
  const file = await getOriginal(await picture, signal);
  return searchByExamples({ file, ...examples }, query, signal);
}

/**
 * @param {Source} source
 * @param {Query} query
 * @param {string} name of the file that is sent if the search needs one
 * @returns {SearchRequest}
 */
function toRequest({ id, crop, like = [], unlike = [] }, query, name) {
  const parameters = toParameters(query);
  if (crop) parameters.set("crop", crop);
  const ids = [...(id && !crop ? [id] : []), ...like].map(Number);
  return { files: id && !crop ? [] : [name], like: ids, unlike: unlike.map(Number), parameters };
}

/**
 * @param {Source} source
 * @param {AbortSignal} signal
 * @returns {Promise<Examples>}
 */
async function getExamples({ like = [], unlike = [] }, signal) {
  const [liked, unliked] = await Promise.all(
    [like, unlike].map((ids) => Promise.all(ids.map((id) => getPicture(id, signal)))),
  );
  return { like: liked, unlike: unliked };
}

/**
 * @param {QueryImage} queryImage
 * @param {Examples} examples
 * @param {SearchResponse} response
 * @param {Query} query
 * @param {UrlOf} urlOf
 * @returns {View}
 */
function matchesView(queryImage, examples, response, query, urlOf) {
  const { warnings } = response;
  if (!response.catalogue_size) return { ...emptyView(), queryImage, response, examples };
  const given = new Set([queryImage.picture, ...examples.like, ...examples.unlike].map((picture) => picture?.id));
  const matches = response.results.filter(({ id }) => !given.has(id)).slice(0, query.k);
  // The first `k` of all that pass the filters, which is what the view shows.
  const found = { note: "", warnings, queryImage, response, examples, total: matches.length };
  if (!matches.length) return { ...found, heading: "No pictures found", pictures: hint() };
  return { ...found, heading: "Most similar first", pictures: matchList(matches, urlOf) };
}

function hint() {
  return el("p", { className: "hint" }, "Remove a filter or relax the search options to find more.");
}

/** @returns {View} */
export function emptyView() {
  const heading = "The catalogue is empty";
  return { heading, note: "", warnings: [], pictures: emptyCatalogue(), queryImage: null, response: null };
}
