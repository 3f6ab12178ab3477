/** A named bar with the number of finished items. */

import { el } from "./dom.js";

/**
 * @param {string} name
 * @param {number} done
 * @param {number | null} total null if it is not known yet
 */
export function progressBar(name, done, total) {
  const bar = el("progress", { max: total || 1, ariaLabel: name });
  if (total) bar.value = done;
  const count = total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
  return el("div", { className: "progress" }, el("span", {}, name), el("span", {}, count), bar);
}
