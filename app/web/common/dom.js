/**
 * Create and update DOM elements.
 *
 * Text is only ever set as text, never as HTML: labels, keys and metadata are untrusted input.
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
 * @param {() => void} onClick
 * @param {Record<string, unknown>} [properties]
 */
export function button(text, onClick, properties = {}) {
  const element = el("button", { type: "button", ...properties }, text);
  element.addEventListener("click", onClick);
  return element;
}

/**
 * Replace an element's children and restore the focus to the input with the same name and value, and its selected text.
 * A child that is already there and has the focus stays in place.
 *
 * @param {Element} parent
 * @param {...Element} children
 */
export function replaceKeepingFocus(parent, ...children) {
  const active = document.activeElement;
  const focused = active instanceof HTMLInputElement && parent.contains(active) ? active : null;
  const stays = children.findIndex((child) => child.parentElement === parent && child.contains(focused));
  if (stays >= 0) {
    for (const child of [...parent.childNodes]) if (child !== children[stays]) child.remove();
    parent.prepend(...children.slice(0, stays));
    parent.append(...children.slice(stays + 1));
    return;
  }
  parent.replaceChildren(...children);
  const inputs = [...parent.querySelectorAll("input")];
  const replacement = focused && inputs.find((input) => identityOf(input) === identityOf(focused));
  if (!replacement) return;
  replacement.focus();
  if (focused.type === "search") replacement.setSelectionRange(focused.selectionStart, focused.selectionEnd);
}

/** @param {HTMLInputElement} input */
function identityOf({ name, type, value }) {
  return type === "checkbox" ? `${name}=${value}` : name;
}

/** @param {string} id */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * Create an image that falls back to the icon if the browser cannot show it.
 *
 * @param {string} src
 * @param {string} alt
 * @param {Record<string, unknown>} [properties] set before `src`, which starts loading
 */
export function image(src, alt, properties = {}) {
  const img = el("img", { alt, decoding: "async", draggable: false, ...properties });
  const replace = () => Object.assign(img, { src: new URL("../icon.svg", import.meta.url).href, className: "missing" });
  img.addEventListener("error", replace, { once: true });
  img.src = src;
  return img;
}

/**
 * Do something after the changes so far are on the screen: what may wait must not delay the results.
 *
 * @param {() => void} action
 */
export function afterPaint(action) {
  requestAnimationFrame(() => setTimeout(action));
}
