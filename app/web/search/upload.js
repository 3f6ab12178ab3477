/** The image that was searched with: an upload, or a picture of the catalogue. */

import { captionTitle } from "./captions.js";
import { shrunk } from "./shrink.js";

/** @import { Picture } from "../api/client.js" */
/** @import { Shrunk } from "./shrink.js" */

/**
 * @typedef {object} QueryImage
 * @property {string} title
 * @property {string} subtitle
 * @property {string} thumbnail URL
 * @property {string} original URL
 * @property {{width: number, height: number} | null} size in pixels that a crop refers to; null if it is not known
 * @property {Picture | null} picture if it is in the catalogue
 * @property {File | null} file if it was uploaded
 */

/** @typedef {{queryImage: QueryImage, sent: Promise<Shrunk>}} Upload `sent` is what the service gets */

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
    size: null,
    picture: null,
    file,
  };
  return { queryImage, sent: shrunk(file) };
}

/**
 * @param {Picture} picture
 * @returns {QueryImage}
 */
export function toQueryImage(picture) {
  const { label, key, width, height, thumbnail_url: thumbnail, image_url: original } = picture;
  const title = captionTitle(picture);
  const subtitle = [label, key].find((text) => text && text !== title) ?? "";
  return { title, subtitle, thumbnail, original, size: { width, height }, picture, file: null };
}
