/** Chips for the active filters and search options; a click on a chip removes it. */

import { button, el } from "../common/dom.js";
import { toChips, toConditions, toFilterParams } from "../filters/conditions.js";
import { OPTIONS } from "./options.js";
import { DEFAULTS } from "./query.js";

/** @import { Query } from "./query.js" */

/** @typedef {(change: Partial<Query>) => void} OnChange */

/**
 * @param {HTMLElement} list
 * @param {Query} query
 * @param {boolean} searching whether search options apply
 * @param {OnChange} onChange
 */
export function showChips(list, query, searching, onChange) {
  const chips = [...textChip(query), ...filterChips(query), ...(searching ? optionChips(query) : [])];
  const focused = [...list.querySelectorAll("button")].indexOf(
    /** @type {HTMLButtonElement} */ (document.activeElement),
  );
  const items = chips.map(({ text, change }) => {
    const chip = button(text, () => onChange(change), { className: "chip", ariaLabel: `Remove ${text}` });
    return el("li", {}, chip);
  });
  if (chips.length > 1) {
    const clear = Object.assign({}, ...chips.map(({ change }) => change), { label: null, filter: null });
    items.push(
      el(
        "li",
        {},
        button("Clear filters", () => onChange(clear), { className: "link" }),
      ),
    );
  }
  list.replaceChildren(...items);
  if (focused >= 0) focusChip(list, focused);
}

/**
 * @param {Query} query
 * @returns {{text: string, change: Partial<Query>}[]}
 */
function textChip({ text }) {
  return text === null ? [] : [{ text: `“${text}”`, change: { text: null } }];
}

/**
 * @param {Query} query
 * @returns {{text: string, change: Partial<Query>}[]}
 */
function filterChips(query) {
  return toChips(toConditions(query)).map(({ text, without }) => ({ text, change: toFilterParams(without) }));
}

/**
 * @param {Query} query
 * @returns {{text: string, change: Partial<Query>}[]}
 */
function optionChips(query) {
  const changed = OPTIONS.filter(({ name }) => query[name] !== DEFAULTS[name]);
  const chips = changed.map(({ name, text }) => ({
    text: text(query[name]),
    change: { [name]: DEFAULTS[name] },
  }));
  return query.group_by === null
    ? chips
    : [...chips, { text: `grouped by ${query.group_by}`, change: { group_by: null } }];
}

/**
 * Focus the chip that took the place of a removed one, or the heading of the results if none is left.
 *
 * @param {HTMLElement} list
 * @param {number} index
 */
function focusChip(list, index) {
  const chips = [...list.querySelectorAll("button")];
  /** @type {HTMLElement | null} */
  const next = chips[Math.min(index, chips.length - 1)] ?? document.querySelector("#heading");
  next?.focus();
}
