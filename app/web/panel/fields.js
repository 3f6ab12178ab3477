/** All fields of a picture as a table; URLs are links. */

import { el } from "../common/dom.js";
import { fieldText, isPrice } from "../search/captions.js";

/** @import { Picture } from "../api/client.js" */

/** @param {Picture} picture */
export function fieldTable(picture) {
  const { width, height, created_at: added } = picture;
  const rank = (/** @type {[string, string]} */ [name, text]) => (isPrice(name) ? 0 : isAddress(text) ? 2 : 1);
  const fields = textsOf(picture, Object.keys(picture.metadata)).toSorted((one, other) => rank(one) - rank(other));
  const rows = [...textsOf(picture, ["label"]), ...fields, ...textsOf(picture, ["key"])];
  const date = new Date(added);
  const more = [
    ["size", `${width} × ${height} pixels`],
    ...(Number.isNaN(date.valueOf()) ? [] : [["added", date.toLocaleDateString("en", { dateStyle: "medium" })]]),
  ];
  const items = [...rows, ...more].map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, asLink(text))));
  return el("dl", { className: "field-table" }, ...items);
}

/**
 * @param {Picture} picture
 * @param {string[]} names
 * @returns {[string, string][]} the fields that have a value, as text
 */
function textsOf(picture, names) {
  return names.flatMap((name) => {
    const text = fieldText(picture, name);
    return text ? [[name, text]] : [];
  });
}

/** @param {string} text */
function isAddress(text) {
  return /^https?:\/\/\S+$/i.test(text) && URL.canParse(text);
}

/**
 * @param {string} text
 * @returns {Node | string} a link if the text is a web address
 */
function asLink(text) {
  if (!isAddress(text)) return text;
  return el("a", { href: text, target: "_blank", rel: "noopener noreferrer" }, text);
}
