/**
 * What there is to show: asks the API and gives the pieces of one view. Knows nothing of where they are put.
 */

import { getOriginal, getPicture, searchByFile, searchById, withItself } from "./api.js";
import { el } from "./dom.js";
import { emptyCatalogue } from "./empty.js";
import { matchList } from "./tiles.js";
import { openWhy } from "./why.js";

/** @import { Answer, Match, Picture } from "./api.js" */
/** @import { Asked } from "./asked.js" */
/** @import { Query } from "./panel.js" */
/** @import { UrlOf } from "./route.js" */

/** @typedef {{file: File, query: Query}} Upload */

/**
 * @typedef {object} View
 * @property {string} heading
 * @property {string} note
 * @property {string[]} warnings why nothing is found
 * @property {Node} pictures
 * @property {Query | null} query
 * @property {Answer | null} answer
 */

/**
 * @param {Upload} upload
 * @param {string | null} crop
 * @param {Asked} asked
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function uploadView({ file, query }, crop, asked, urlOf, signal) {
  const answer = await searchByFile(file, crop, asked, signal);
  return matchesView(query, answer, answer.results, urlOf);
}

/**
 * @param {string} id
 * @param {string | null} crop
 * @param {Asked} asked
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function pictureView(id, crop, asked, urlOf, signal) {
  const [picture, answer] = await (crop
    ? searchByPart(id, crop, asked, signal)
    : Promise.all([getPicture(id, signal), searchById(id, withItself(asked), signal)]));
  const others = answer.results.filter((match) => match.id !== picture.id).slice(0, asked.k);
  return matchesView(queryOf(picture), answer, others, urlOf);
}

/**
 * Searches with a part of a picture of the catalogue: the API takes parts of uploads, so it gets its own bytes back.
 *
 * @param {string} id
 * @param {string} crop
 * @param {Asked} asked
 * @param {AbortSignal} signal
 * @returns {Promise<[Picture, Answer]>}
 */
async function searchByPart(id, crop, asked, signal) {
  const picture = await getPicture(id, signal);
  const original = await getOriginal(picture, signal);
  return [picture, await searchByFile(original, crop, withItself(asked), signal)];
}

/**
 * @param {Picture} picture
 * @returns {Query}
 */
function queryOf(picture) {
  const { key, label, thumbnail_url: thumbnail, image_url: original } = picture;
  return { title: label || key, subtitle: label ? key : "", thumbnail, original, picture, file: null };
}

/**
 * @param {File} file
 * @returns {Upload}
 */
export function toUpload(file) {
  const preview = URL.createObjectURL(file);
  const query = {
    title: "Your picture",
    subtitle: file.name,
    thumbnail: preview,
    original: preview,
    picture: null,
    file,
  };
  return { file, query };
}

/**
 * @param {Query} query
 * @param {Answer} answer
 * @param {Match[]} matches
 * @param {UrlOf} urlOf
 * @returns {View}
 */
function matchesView(query, answer, matches, urlOf) {
  const { warnings } = answer;
  if (!answer.catalogue_size) return { ...emptyView(), query, answer };
  if (!matches.length)
    return { heading: "Nothing else was found", note: "", warnings, pictures: hint(), query, answer };
  const pictures = matchList(answer, matches, urlOf, (match) => openWhy(match, answer, query));
  return { heading: "Most alike first", note: "", warnings, pictures, query, answer };
}

function hint() {
  return el("p", { className: "hint" }, "Take a filter away above, or ask for less, and more will be found.");
}

/** @returns {View} */
export function emptyView() {
  const heading = "The catalogue is empty";
  return { heading, note: "", warnings: [], pictures: emptyCatalogue(), query: null, answer: null };
}
