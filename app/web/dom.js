/**
 * The smallest pieces: elements, pictures and numbers.
 *
 * Text is only ever set as text: labels, keys and metadata come from whoever filled the catalogue.
 */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string)} children
 */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * A picture, or the icon where the browser cannot show it.
 *
 * @param {string} src
 * @param {string} alt
 */
export function image(src, alt) {
  const img = el("img", { alt, decoding: "async", draggable: false });
  const replace = () => Object.assign(img, { src: "/web/icon.svg", className: "missing" });
  img.addEventListener("error", replace, { once: true });
  return Object.assign(img, { src });
}

/**
 * A distance with about three digits, so that a column of them reads well.
 *
 * @param {number} value
 */
export function measured(value) {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** @param {number} value */
export function milliseconds(value) {
  return value.toFixed(value < 1 ? 2 : 1);
}

/**
 * @param {number} count
 * @param {string} singular
 */
export function counted(count, singular) {
  return `${count.toLocaleString("en")} ${singular}${count === 1 ? "" : "s"}`;
}

/**
 * @param {unknown} value a value of the metadata, of any JSON type
 * @returns {string}
 */
export function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
