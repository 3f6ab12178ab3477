/**
 * Make the tiles of a container selectable: by check box, Shift for ranges, a rectangle drawn with the mouse, a long
 * press, and the keyboard. While pictures are selected, a bar at the bottom offers what can be done with them.
 *
 * A tile is an element with `data-id` in a list item, which gets the check box. Tiles may come and go.
 */

import { el } from "../common/dom.js";
import { SelectionBar } from "./bar.js";
import { listenForKeys } from "./keyboard.js";
import { listenForLongPress, listenForRectangle, tileOf, tilesOf } from "./pointer.js";
import { Selection } from "./selection.js";

/** @import { Matching, Selected } from "../api/bulk.js" */

/**
 * @typedef {object} Action
 * @property {string} text
 * @property {string} [className]
 * @property {string} [scope] of the API key that it needs
 * @property {(selected: Selected, bar: SelectionBar) => unknown} run throws a `UserError` on failure, or calls
 *     `bar.showError` later
 * @property {(selected: Selected) => boolean} [offered] always by default
 */

/**
 * @typedef {object} Selectable what a view says about its tiles
 * @property {() => number[]} [order] the ids of the pictures that are loaded, in order; by default those of the tiles
 * @property {Matching | null} [matching] all pictures that match, if the view lists them
 * @property {Action[]} [actions] in place of the usual ones
 */

/**
 * @typedef {object} SelectionOptions
 * @property {() => Selectable | null} selectable null if tiles cannot be selected
 * @property {Action[]} actions
 * @property {() => void} selectAgain loads the view again, after the pictures were changed by others
 */

/**
 * @param {HTMLElement} container
 * @param {SelectionOptions} options
 * @returns {Selection}
 */
export function attachSelection(container, options) {
  const { selectable } = options;
  const enabled = () => selectable() !== null;
  const loaded = () => selectable()?.order?.() ?? [...tilesOf(container)].map((tile) => Number(tile.dataset.id));
  const selection = new Selection(() => {
    for (const tile of tilesOf(container)) paint(tile, selection);
    container.classList.toggle("selecting", !selection.empty);
    bar.show(selection, selectable());
    if (selection.empty && bar.hadFocus) tileWithId(container, selection.anchor)?.focus({ preventScroll: true });
  });
  const bar = new SelectionBar(options, selection, loaded);
  const decorate = () => {
    if (enabled()) for (const tile of tilesOf(container)) paint(tile, selection);
  };
  new MutationObserver(decorate).observe(container, { childList: true, subtree: true });
  container.addEventListener("click", (event) => onClick(event, selection, loaded, enabled), { capture: true });
  listenForRectangle(container, selection, enabled);
  listenForLongPress(container, (tile) => selection.toggle(Number(tile.dataset.id)), enabled);
  listenForKeys(container, selection, loaded, enabled);
  return selection;
}

/**
 * @param {HTMLElement} container
 * @param {number | null} id
 * @returns {HTMLElement | null}
 */
function tileWithId(container, id) {
  return container.querySelector(`[data-id="${id}"]`);
}

/**
 * Show whether a tile is selected. Its check box is not in the tab order: on the focused tile, Space does the same.
 *
 * @param {HTMLElement} tile
 * @param {Selection} selection
 */
function paint(tile, selection) {
  const item = /** @type {HTMLElement} */ (tile.parentElement);
  const selected = selection.has(Number(tile.dataset.id));
  /** @type {HTMLInputElement | null} */
  let box = item.querySelector(":scope > .select-box");
  if (!box) {
    box = el("input", { type: "checkbox", className: "select-box", tabIndex: -1 });
    box.setAttribute("aria-label", `Select ${tile.title || tile.getAttribute("aria-label") || tile.textContent}`);
    item.append(box);
  }
  box.checked = selected;
  item.classList.toggle("selected", selected);
}

/**
 * Select by check box; with Shift, or while pictures are selected, by a click anywhere on a tile.
 *
 * @param {MouseEvent} event
 * @param {Selection} selection
 * @param {() => number[]} loaded
 * @param {() => boolean} enabled
 */
function onClick(event, selection, loaded, enabled) {
  const target = /** @type {Element} */ (event.target);
  const onBox = target.matches(".select-box");
  const tile = onBox ? tileOf(target.parentElement?.querySelector("[data-id]") ?? null) : tileOf(target);
  const byTile = event.shiftKey || (!selection.empty && !event.ctrlKey && !event.metaKey);
  if (!tile || !enabled() || (!onBox && !byTile)) return;
  event.stopPropagation();
  if (!onBox) event.preventDefault(); // else the check box would take its change back
  const id = Number(tile.dataset.id);
  if (event.shiftKey) selection.extendTo(id, loaded());
  else selection.toggle(id);
}
