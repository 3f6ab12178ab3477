/** Puts a view into the document, and says what is going on. */

import { byId } from "./dom.js";
import { NOTHING } from "./route.js";
import { trailLinks } from "./trail.js";

/** @import { Step, UrlOf } from "./route.js" */
/** @import { View } from "./views.js" */

/** @param {string} sentence of what went wrong, or nothing */
export function say(sentence) {
  byId("message").textContent = sentence;
  if (sentence) byId("message").scrollIntoView({ block: "nearest" });
}

/** @param {string} sentence for those who hear the page */
export function announce(sentence) {
  byId("status").textContent = sentence;
}

/** @param {boolean} busy */
export function showBusy(busy) {
  document.body.classList.toggle("busy", busy);
  byId("results").ariaBusy = String(busy);
  if (busy) announce("Searching…");
  else announce(`${byId("heading").textContent}: ${byId("pictures").querySelectorAll(".tile").length} shown`);
}

/**
 * @param {View} view
 * @param {Step[]} trail
 * @param {UrlOf} urlOf
 */
export function placeView({ heading, note, pictures, query }, trail, urlOf) {
  document.body.dataset.view = query ? "search" : "start";
  document.title = query ? `${query.title} – Lookalike` : "Lookalike";
  byId("heading").textContent = heading;
  byId("note").textContent = note;
  byId("pictures").replaceChildren(pictures);
  byId("trail").replaceChildren(...(query ? trailLinks(trail, urlOf, urlOf(NOTHING)) : []));
}
