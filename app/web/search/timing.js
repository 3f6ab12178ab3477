/** Duration of a search by stage, as a bar with its legend. */

import { el } from "../common/dom.js";
import { formatMilliseconds, pluralise } from "../common/format.js";

/** @import { SearchResponse } from "../api/client.js" */

const STAGES = ["decode", "encode", "coarse", "fine", "catalogue"];

/** @param {SearchResponse} response */
export function timing({ timings_ms: timings, catalogue_size: size }) {
  const stages = STAGES.filter((stage) => timings[stage] > 0);
  const segments = stages.map((stage) => barSegment(stage, timings));
  const bar = el("div", { className: "stages", ariaHidden: "true" }, ...segments);
  const legend = stages.map((stage) =>
    el("li", { className: stage }, `${stage} ${formatMilliseconds(timings[stage])}`),
  );
  const total = el("strong", {}, `${formatMilliseconds(timings.total)} ms`);
  const text = el("p", {}, total, ` for ${pluralise(size, "picture")}`);
  return el("div", { className: "timing" }, text, bar, el("ul", {}, ...legend));
}

/**
 * @param {string} stage
 * @param {Record<string, number>} timings
 */
function barSegment(stage, timings) {
  const segment = el("span", { className: stage });
  segment.style.flexGrow = String(timings[stage]);
  return segment;
}
