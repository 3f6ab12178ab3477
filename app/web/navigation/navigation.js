/** Navigation state: breadcrumbs, browser history entries, and uploads, which exist only in this page's memory. */

import { toUpload } from "../search/upload.js";
import { breadcrumbsTo, isSearch, routeUrl } from "./route.js";

/** @import { QueryImage, Upload } from "../search/upload.js" */
/** @import { Crumb, Route } from "./route.js" */

/** @typedef {"push" | "replace" | "restore"} HistoryAction what happens to the history entry */

export class Navigation {
  /** @type {Crumb[]} the searches up to and including the current one */
  path = [];
  /** @type {Map<string, Upload>} held until the page closes, so that Back can show them */
  uploads = new Map();
  /** @type {Set<string>} ids of deleted pictures, which breadcrumbs leave out */
  deleted = new Set();

  /**
   * @param {File} file
   * @returns {string} the upload's key
   */
  addUpload(file) {
    const key = Date.now().toString(36);
    this.uploads.set(key, toUpload(file));
    return key;
  }

  /** Store the scroll position in the history entry, before the next view is shown. */
  saveScroll() {
    history.replaceState({ ...history.state, scroll: scrollY }, "");
  }

  /**
   * Add a history entry for the panel, so that Back closes it; another picture in the panel replaces it.
   *
   * @param {Route} route
   * @param {boolean} isOpen whether the panel is open already
   */
  openPanel(route, isOpen) {
    if (isOpen) return history.replaceState(history.state, "", routeUrl(route));
    this.saveScroll();
    history.pushState({ ...history.state, panel: true }, "", routeUrl(route));
  }

  /**
   * Remove the panel from the URL.
   *
   * @param {Route} route
   * @returns {boolean} false if Back does it, which fires a popstate event
   */
  closePanel(route) {
    if (history.state?.panel) history.back();
    else history.replaceState(history.state, "", routeUrl(route));
    return !history.state?.panel;
  }

  /**
   * Update the history and the path for a view that is about to be shown.
   *
   * @param {Route} route
   * @param {QueryImage | null} queryImage
   * @param {HistoryAction} action
   * @returns {Crumb[]} the view's breadcrumbs
   */
  enter(route, queryImage, action) {
    const breadcrumbs = this.updateHistory(route, action);
    const { id, upload, crop, like, unlike } = route;
    const crumb = queryImage && {
      id,
      upload,
      crop,
      like,
      unlike,
      title: queryImage.title,
      thumbnail: queryImage.thumbnail,
    };
    this.path = crumb ? [...breadcrumbs, crumb] : [];
    return breadcrumbs;
  }

  /**
   * Write the view's history entry and return its breadcrumbs.
   *
   * @param {Route} route
   * @param {HistoryAction} action
   * @returns {Crumb[]}
   */
  updateHistory(route, action) {
    if (action === "push") {
      const breadcrumbs = breadcrumbsTo(this.path, route);
      history.pushState({ breadcrumbs }, "", routeUrl(route));
      return breadcrumbs;
    }
    if (action === "replace") {
      const { breadcrumbs, panel } = history.state ?? {};
      history.replaceState({ breadcrumbs, panel: route.open ? panel : undefined }, "", routeUrl(route));
    }
    /** @type {Crumb[]} */
    const breadcrumbs = isSearch(route) ? (history.state?.breadcrumbs ?? []) : [];
    return breadcrumbs.filter(({ id, upload }) =>
      id ? !this.deleted.has(id) : this.uploads.has(upload ?? ""),
    );
  }
}
