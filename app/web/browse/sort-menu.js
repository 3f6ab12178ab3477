/** Menu of sort orders: the catalogue's own, and each field that pictures can be sorted by. */

import { button, el } from "../common/dom.js";

/** @import { Field } from "../api/client.js" */

export const MIXED = "mixed";

/** @type {Record<string, string>} */
const ORDERS = { [MIXED]: "Mixed", "-added": "Newest first", added: "Oldest first", key: "Key", label: "Label" };
const RESERVED = ["added", MIXED, "key", "label"];

/**
 * @param {string} sort a value of the API's parameter `sort`
 * @param {(sort: string) => void} onChange
 * @returns {{element: HTMLElement, offer: (fields: Field[]) => void}} `offer` adds the catalogue's fields
 */
export function sortMenu(sort, onChange) {
  const named = sort in ORDERS;
  const field = named ? sort : sort.replace(/^-/, "");
  const select = el("select", { id: "sort" }, ...Object.entries(ORDERS).map(([value, text]) => el("option", { value }, text)));
  if (!(field in ORDERS)) select.append(el("option", { value: field }, field));
  select.value = field;
  select.addEventListener("change", () => onChange(select.value));
  const descending = !named && sort.startsWith("-");
  const turn = button(descending ? "↓" : "↑", () => onChange(descending ? field : `-${field}`), {
    className: "turn",
    hidden: !canTurn(field),
    title: descending ? "Descending" : "Ascending",
    ariaLabel: `Sort ${descending ? "ascending" : "descending"}`,
  });
  const element = el("div", { className: "sort" }, el("label", { htmlFor: select.id }, "Sort"), select, turn);
  const offer = (/** @type {Field[]} */ fields) => {
    const names = fields.filter(({ name }) => canSortBy(name) && name !== field).map(({ name }) => name);
    select.append(...names.map((name) => el("option", { value: name }, name)));
  };
  return { element, offer };
}

/** @param {string} field */
function canTurn(field) {
  return field !== MIXED && !field.endsWith("added");
}

/** @param {string} name a name that the parameter `sort` would read as something else cannot be sent */
function canSortBy(name) {
  return !RESERVED.includes(name) && !name.startsWith("-");
}
