/** Labels with their counts, as links that filter by one of them. */

import { el } from "../common/dom.js";
import { NO_SOURCE, routeUrl } from "../navigation/route.js";

/** @import { Count } from "../api/client.js" */
/** @import { Query } from "../search/query.js" */

/**
 * @param {Query} query
 * @param {Count[]} labels most frequent first
 */
export function labelChips(query, labels) {
  const shown = query.label === null ? labels : [...labels].sort((a, b) => rank(b, query) - rank(a, query));
  const chips = shown.map(({ value, count }) => {
    const active = value === query.label;
    const href = routeUrl({ ...NO_SOURCE, query: { ...query, label: active ? null : String(value) } });
    const number = el("span", { className: "count" }, count.toLocaleString("en"));
    const link = el("a", { href, className: "label-chip" }, String(value), " ", number);
    if (active) link.ariaCurrent = "true";
    if (active) link.title = "Show all labels";
    return el("li", {}, link);
  });
  return el("ul", { className: "label-chips", ariaLabel: "Labels" }, ...chips);
}

/**
 * @param {Count} label
 * @param {Query} query
 */
function rank({ value }, query) {
  return Number(value === query.label);
}
