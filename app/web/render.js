/** Render a view into the document and show messages. */

import { byId } from "./common/dom.js";
import { breadcrumbLinks } from "./navigation/breadcrumbs.js";
import { NO_SOURCE } from "./navigation/route.js";

/** @import { Crumb, UrlOf } from "./navigation/route.js" */
/** @import { View } from "./search/views.js" */

/** @param {string} message an error message; empty to clear it */
export function showError(message) {
  byId("message").textContent = message;
  if (message) byId("message").scrollIntoView({ block: "nearest" });
}

/** @param {string} message for screen readers */
export function announce(message) {
  byId("status").textContent = message;
}

/** @param {boolean} busy */
export function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  byId("results").ariaBusy = String(busy);
  if (busy) announce("Searching…");
  else announce(`${byId("heading").textContent}: ${byId("pictures").querySelectorAll(".tile").length} shown`);
}

/**
 * @param {View} view
 * @param {Crumb[]} crumbs
 * @param {UrlOf} urlOf
 */
export function renderView({ heading, note, pictures, queryImage }, crumbs, urlOf) {
  document.body.dataset.view = queryImage ? "search" : "start";
  document.title = queryImage ? `${queryImage.title} – Lookalike` : "Lookalike";
  byId("heading").textContent = heading;
  byId("note").textContent = note;
  byId("pictures").replaceChildren(pictures);
  byId("breadcrumbs").replaceChildren(
    ...(queryImage ? breadcrumbLinks(crumbs, urlOf, urlOf(NO_SOURCE)) : []),
  );
}
