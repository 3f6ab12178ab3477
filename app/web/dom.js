/**
 * The smallest pieces: elements, pictures and numbers.
 *
 * Text is only ever set as text: labels, keys and metadata come from whoever filled the catalogue.
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

/**
 * @param {string} text
 * @param {() => void} act
 * @param {Record<string, unknown>} [properties]
 */
export function button(text, act, properties = {}) {
  const made = el("button", { type: "button", ...properties }, text);
  made.addEventListener("click", act);
  return made;
}

/**
 * Draws a part of the page anew; the control that had the focus keeps it, known by its name and value.
 *
 * @param {Element} part
 * @param {...(Node | string)} children
 */
export function redraw(part, ...children) {
  const focused = document.activeElement;
  const held = focused instanceof HTMLInputElement && part.contains(focused) ? focused : null;
  part.replaceChildren(...children);
  const again = held && [...part.querySelectorAll("input")].find((one) => nameOf(one) === nameOf(held));
  if (!again) return;
  if (held.type === "number") again.value = held.value; // half typed, perhaps
  again.focus();
}

/** @param {HTMLInputElement} control */
function nameOf({ name, type, value }) {
  return type === "checkbox" ? `${name}=${value}` : name;
}

/** @param {string} id */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * A picture, or the icon where the browser cannot show it.
 *
 * @param {string} src
 * @param {string} alt
 */
export function image(src, alt) {
  const img = el("img", { alt, decoding: "async", draggable: false });
  const replace = () => Object.assign(img, { src: new URL("icon.svg", import.meta.url).href, className: "missing" });
  img.addEventListener("error", replace, { once: true });
  img.src = src;
  return img;
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

/**
 * Only what is the same is 100 % similar.
 *
 * @param {number} similarity 0 to 1
 */
export function percent(similarity) {
  return `${similarity === 1 ? 100 : Math.min(Math.round(100 * similarity), 99)}%`;
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
