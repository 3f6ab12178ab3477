/**
 * Captions of tiles: a title, and a line with the price or a few values.
 *
 * The fields are chosen by the user and stored in the browser. Independent of the DOM.
 */

import { displayText, formatNumber } from "../common/format.js";

/** @import { Picture } from "../api/client.js" */

/** @typedef {Pick<Picture, "id" | "key" | "label" | "metadata">} Captioned */

/** @typedef {"title" | "line"} CaptionPart */

const STORAGE_KEY = "lookalike.captions";
/** The value of a chosen field that shows nothing. */
export const NOTHING = "-";
const TITLES = ["name", "title", "product_name", "product", "product_title", "display_name"];
const PRICES = /^(.+[ _-])?(price|cost|amount|msrp|rrp|preis|prix|precio|prezzo)([ _-][a-z]{3})?$/i;
const CURRENCIES = /^(currency|currency_code|price_currency)$/i;
const HASH = /^(sha256[:-])?[0-9a-f]{32,}$/i;
const MAX_VALUES = 3;
const MAX_VALUE_LENGTH = 40;

/**
 * @param {CaptionPart} part
 * @returns {string} the chosen field; empty for the default
 */
export function chosenField(part) {
  return choices[part] ?? "";
}

/**
 * @param {CaptionPart} part
 * @param {string} field empty for the default
 */
export function chooseField(part, field) {
  choices = { ...choices, [part]: field || undefined };
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(choices));
  } catch {
    // Storage is full or blocked: the choice lasts as long as the page.
  }
}

/** @type {Partial<Record<CaptionPart, string>>} read once: every tile needs them */
let choices = stored();

/** @returns {Partial<Record<CaptionPart, string>>} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
  } catch {
    return {};
  }
}

/**
 * @param {Captioned} picture
 * @returns {string} the chosen field, or a name, the label, or the file's name
 */
export function captionTitle(picture) {
  const chosen = chosenField("title");
  const text = chosen && fieldText(picture, chosen);
  return text || nameOf(picture) || picture.label || fileName(picture);
}

/**
 * @param {Captioned} picture
 * @param {number} [maxValues]
 * @returns {string} the chosen field, or the price, or a few short values without the names of their fields
 */
export function captionLine(picture, maxValues = MAX_VALUES) {
  const chosen = chosenField("line");
  if (chosen) return chosen === NOTHING ? "" : fieldText(picture, chosen);
  const title = captionTitle(picture);
  const price = Object.keys(picture.metadata).find(isPrice);
  const values = Object.entries(picture.metadata).flatMap(([name, value]) => (isTelling(name, value) ? [value] : []));
  const others = [picture.label, ...values].filter((text) => text && text !== title);
  return [price && fieldText(picture, price), ...others].filter(Boolean).slice(0, maxValues).join(" · ");
}

/**
 * @param {Captioned} picture
 * @param {string} field `label`, `key`, or a name in the metadata
 * @returns {string} empty if the picture does not have it
 */
export function fieldText(picture, field) {
  if (field === "label") return picture.label ?? "";
  if (field === "key") return picture.key;
  const value = picture.metadata[field];
  if (value === undefined || value === null) return "";
  return isPrice(field) ? formatPrice(value, field, picture.metadata) : displayText(value);
}

/** @param {string} field */
export function isPrice(field) {
  return PRICES.test(field);
}

/**
 * @param {unknown} value
 * @param {string} field may end with a currency, such as `price_eur`
 * @param {Record<string, unknown>} metadata may have a field with the currency
 * @returns {string}
 */
function formatPrice(value, field, metadata) {
  const isNumeric = typeof value === "number" || (typeof value === "string" && /^\d+(\.\d+)?$/.test(value));
  if (!isNumeric) return displayText(value);
  const named = Object.entries(metadata).find(([name]) => CURRENCIES.test(name))?.[1];
  const currency = String(named ?? /[ _-]([a-z]{3})$/i.exec(field)?.[1] ?? "").toUpperCase();
  const style = /^[A-Z]{3}$/.test(currency)
    ? { style: /** @type {const} */ ("currency"), currency }
    : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return formatNumber(Number(value), style);
}

/** @param {Captioned} picture */
function nameOf({ metadata }) {
  const field = Object.keys(metadata).find((name) => TITLES.includes(name.toLowerCase()));
  const value = field && metadata[field];
  return typeof value === "string" ? value : "";
}

/**
 * @param {Captioned} picture
 * @returns {string} the last part of the key, or of the field `file` if the key is a hash
 */
function fileName({ id, key, metadata }) {
  const name = HASH.test(key) ? metadata.file : key;
  if (typeof name !== "string" || !name) return `Picture ${id}`;
  return name.split("/").at(-1) || name;
}

/**
 * Whether a value tells something without the name of its field.
 *
 * @param {string} name
 * @param {unknown} value
 */
function isTelling(name, value) {
  if (isPrice(name) || CURRENCIES.test(name) || name === "file") return false;
  return typeof value === "string" && value.length <= MAX_VALUE_LENGTH && !value.includes("://");
}
