/** Render a view into the document and show messages. */

import { byId } from "./common/dom.js";
import { isSearch } from "./navigation/route.js";
import { isFiltered } from "./search/query.js";
import { hideSkeleton, showSkeleton } from "./search/skeleton.js";

/** @import { Route } from "./navigation/route.js" */
/** @import { View } from "./search/views.js" */

/** @param {string} message an error message; empty to clear it */
export function showError(message) {
  byId("message").textContent = message;
  if (message) byId("message").scrollIntoView({ block: "nearest" });
}

/** @param {string} message for screen readers */
function announce(message) {
  byId("status").textContent = message;
}

/** @param {boolean} busy */
export function setBusy(busy) {
  document.body.classList.toggle("busy", busy);
  byId("results").ariaBusy = String(busy);
  if (busy) announce("Searching…");
  else announce(`${byId("heading").textContent}: ${shownCount()} shown`);
}

/** The number of pictures in the list, of which a virtual one has only some in the document. */
function shownCount() {
  const pictures = byId("pictures");
  return pictures.querySelector("[aria-setsize]")?.ariaSetSize ?? pictures.querySelectorAll(".tile").length;
}

/**
 * @param {Route} route
 * @returns {"search" | "duplicates" | "trash" | "browse" | "start"} `browse` is the start with filters or words
 */
export function viewName(route) {
  if (isSearch(route)) return "search";
  if (route.duplicates) return "duplicates";
  if (route.trash) return "trash";
  return isFiltered(route.query) ? "browse" : "start";
}

/**
 * Show empty tiles in place of the results, which stay in the document until the next ones are there.
 *
 * @param {string | null} name of the view that is loading; null if none is
 */
export function renderPending(name) {
  if (name === null) return hideSkeleton();
  document.body.dataset.view = name;
  showSkeleton();
}

/**
 * @param {View} view
 * @param {string} name
 */
export function renderView({ heading, note, pictures, queryImage }, name) {
  hideSkeleton();
  document.body.dataset.view = name;
  document.title = queryImage ? `${queryImage.title} – Lookalike` : "Lookalike";
  byId("heading").textContent = heading;
  byId("note").textContent = note;
  byId("pictures").replaceChildren(pictures);
  document.body.classList.toggle("without-pictures", !queryImage && !document.querySelector("#pictures .tile"));
}
