/**
 * The way through the page: the searches that led to the shown one, and what the browser's history keeps of them.
 *
 * Uploaded pictures live here, in this page's memory only.
 */

import { isSearch, routeUrl, trailTo } from "./route.js";
import { toUpload } from "./views.js";

/** @import { Query } from "./panel.js" */
/** @import { Route, Step } from "./route.js" */
/** @import { Upload } from "./views.js" */

/** @typedef {"push" | "replace" | "restore"} Entry what becomes of the history entry */

export class Journey {
  /** @type {Step[]} the searches up to the shown one, itself included */
  walked = [];
  /** @type {Map<string, Upload>} kept until the page closes, for going back */
  uploads = new Map();
  /** @type {Set<string>} pictures that are no more, and on no trail */
  deleted = new Set();

  /**
   * @param {File} file
   * @returns {string} the name under which it is kept
   */
  keep(file) {
    const upload = Date.now().toString(36);
    this.uploads.set(upload, toUpload(file));
    return upload;
  }

  /**
   * @param {Route} route
   * @param {Query | null} query
   * @param {Entry} entry
   * @returns {Step[]} the trail that leads there
   */
  arrive(route, query, entry) {
    const trail = this.record(route, entry);
    const { id, upload, crop } = route;
    const step = query && { id, upload, crop, title: query.title, thumbnail: query.thumbnail };
    this.walked = step ? [...trail, step] : [];
    return trail;
  }

  /**
   * Writes the history entry of a view.
   *
   * @param {Route} route
   * @param {Entry} entry
   * @returns {Step[]} its trail
   */
  record(route, entry) {
    if (entry === "push") {
      const trail = trailTo(this.walked, route);
      history.replaceState({ ...history.state, scroll: scrollY }, "");
      history.pushState({ trail }, "", routeUrl(route));
      return trail;
    }
    if (entry === "replace") history.replaceState({ trail: history.state?.trail }, "", routeUrl(route));
    /** @type {Step[]} */
    const trail = isSearch(route) ? (history.state?.trail ?? []) : [];
    return trail.filter(({ id, upload }) => (id ? !this.deleted.has(id) : this.uploads.has(upload ?? "")));
  }
}
