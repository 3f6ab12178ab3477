/** Everything that narrows what is shown, as chips that can be taken away. */

import { USUAL } from "./asked.js";
import { button, el } from "./dom.js";
import { toChips, toConditions, toNarrowing } from "./filters.js";
import { WAYS } from "./ways.js";

/** @import { Asked } from "./asked.js" */

/** @typedef {(change: Partial<Asked>) => void} OnChange */

/**
 * @param {HTMLElement} list
 * @param {Asked} asked
 * @param {boolean} searching whether the ways to search matter
 * @param {OnChange} onChange
 */
export function showChips(list, asked, searching, onChange) {
  const shown = [...ofFilters(asked), ...(searching ? ofWays(asked) : [])];
  const held = [...list.querySelectorAll("button")].indexOf(
    /** @type {HTMLButtonElement} */ (document.activeElement),
  );
  const items = shown.map(({ text, change }) => {
    const take = button(text, () => onChange(change), { className: "chip", ariaLabel: `Take away: ${text}` });
    return el("li", {}, take);
  });
  if (shown.length > 1) {
    const all = Object.assign({}, ...shown.map(({ change }) => change), { label: null, filter: null });
    items.push(
      el(
        "li",
        {},
        button("Take all away", () => onChange(all), { className: "light" }),
      ),
    );
  }
  list.replaceChildren(...items);
  if (held >= 0) focusNear(list, held);
}

/**
 * @param {Asked} asked
 * @returns {{text: string, change: Partial<Asked>}[]}
 */
function ofFilters(asked) {
  return toChips(toConditions(asked)).map(({ text, without }) => ({ text, change: toNarrowing(without) }));
}

/**
 * @param {Asked} asked
 * @returns {{text: string, change: Partial<Asked>}[]}
 */
function ofWays(asked) {
  const tuned = WAYS.filter(({ name }) => asked[name] !== USUAL[name]);
  const chips = tuned.map(({ name, text }) => ({ text: text(asked[name]), change: { [name]: USUAL[name] } }));
  return asked.group_by === null
    ? chips
    : [...chips, { text: `one of each ${asked.group_by}`, change: { group_by: null } }];
}

/**
 * @param {HTMLElement} list
 * @param {number} place of the chip that was taken away
 */
function focusNear(list, place) {
  const chips = [...list.querySelectorAll("button")];
  /** @type {HTMLElement | null} */
  const next = chips[Math.min(place, chips.length - 1)] ?? document.querySelector("#filter-button");
  next?.focus();
}
