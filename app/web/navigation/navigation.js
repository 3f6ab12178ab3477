/** Navigation state: breadcrumbs, browser history entries, and uploads, which exist only in this page's memory. */

import { toUpload } from "../search/views.js";
import { breadcrumbsTo, isSearch, routeUrl } from "./route.js";

/** @import { QueryImage } from "../search/query-panel.js" */
/** @import { Upload } from "../search/views.js" */
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
    const { id, upload, crop } = route;
    const crumb = queryImage && {
      id,
      upload,
      crop,
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
      history.replaceState({ ...history.state, scroll: scrollY }, "");
      history.pushState({ breadcrumbs }, "", routeUrl(route));
      return breadcrumbs;
    }
    if (action === "replace")
      history.replaceState({ breadcrumbs: history.state?.breadcrumbs }, "", routeUrl(route));
    /** @type {Crumb[]} */
    const breadcrumbs = isSearch(route) ? (history.state?.breadcrumbs ?? []) : [];
    return breadcrumbs.filter(({ id, upload }) =>
      id ? !this.deleted.has(id) : this.uploads.has(upload ?? ""),
    );
  }
}
