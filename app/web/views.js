/**
 * What there is to show: asks the API and gives the pieces of one view. Knows nothing of where they are put.
 */

import { getPicture, getStats, listPictures, searchByFile, searchById } from "./api.js";
import { counted } from "./dom.js";
import { emptyCatalogue } from "./panel.js";
import { matchList, sampleList } from "./tiles.js";

/** @import { Answer, Match } from "./api.js" */
/** @import { Query } from "./panel.js" */
/** @import { Mode, UrlOf } from "./route.js" */

/** @typedef {{file: File, query: Query}} Upload */

/**
 * @typedef {object} View
 * @property {string} heading
 * @property {string} note
 * @property {Node} pictures
 * @property {Query | null} query
 * @property {Answer | null} answer
 */

/**
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function startView(urlOf, signal) {
  const [{ items }, { images }] = await Promise.all([listPictures(signal), getStats(signal)]);
  if (!items.length) return { ...emptyView(), query: null, answer: null };
  const note = `${counted(images, "picture")} to search`;
  return { heading: "Try one of these", note, pictures: sampleList(items, urlOf), query: null, answer: null };
}

/**
 * @param {Upload} upload
 * @param {Mode} mode
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function uploadView({ file, query }, mode, urlOf, signal) {
  const answer = await searchByFile(file, mode, signal);
  return { ...matchesView(answer, answer.results, urlOf), query, answer };
}

/**
 * @param {string} id
 * @param {Mode} mode
 * @param {UrlOf} urlOf
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function pictureView(id, mode, urlOf, signal) {
  const [picture, answer] = await Promise.all([getPicture(id, signal), searchById(id, mode, signal)]);
  const others = answer.results.filter((match) => match.id !== picture.id);
  const { key, label, thumbnail_url: thumbnail, image_url: original, metadata } = picture;
  const query = { title: label || key, subtitle: label ? key : "", thumbnail, original, metadata };
  return { ...matchesView(answer, others, urlOf), query, answer };
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
    metadata: {},
  };
  return { file, query };
}

/**
 * @param {Answer} answer
 * @param {Match[]} matches
 * @param {UrlOf} urlOf
 */
function matchesView(answer, matches, urlOf) {
  if (!answer.catalogue_size) return emptyView();
  if (!matches.length)
    return { heading: "Nothing else was found", note: "", pictures: new DocumentFragment() };
  return { heading: "Most alike first", note: "", pictures: matchList(answer, matches, urlOf) };
}

function emptyView() {
  return { heading: "The catalogue is empty", note: "", pictures: emptyCatalogue() };
}
