/**
 * The page: joins the address, the API and the document.
 *
 * `Page.open` is the one way: what the address says → what there is to show → history → document. A search
 * that fails leaves what was shown as it was. Uploaded pictures live in this page's memory only; an address
 * with one of them falls back to the start when the page was loaded anew.
 */

import { ReadableError } from "./errors.js";
import { listenForPictures } from "./intake.js";
import { queryPanel, trailLinks } from "./panel.js";
import { isSearch, readRoute, routeUrl, toMode, trailTo } from "./route.js";
import { pictureView, startView, toUpload, uploadView } from "./views.js";

/** @import { Route, Step, UrlOf } from "./route.js" */
/** @import { Upload, View } from "./views.js" */

/** @typedef {"push" | "replace" | "restore"} Entry what becomes of the history entry */

const MODE_HINTS = {
  hds: "Short codes find the candidates, features put them in order.",
  bcs: "Only the short codes are compared.",
  es: "Features are compared with every picture.",
};

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} sentence */
function say(sentence) {
  byId("message").textContent = sentence;
  if (sentence) byId("message").scrollIntoView({ block: "nearest" });
}

/** @param {boolean} busy */
function showBusy(busy) {
  document.body.classList.toggle("busy", busy);
  byId("results").ariaBusy = String(busy);
  byId("status").textContent = busy ? "Searching…" : "";
}

class Page {
  /** @type {Route} */
  route = readRoute("");
  /** @type {Step[]} the searches up to the shown one, itself included */
  walked = [];
  /** @type {Map<string, Upload>} kept until the page closes, for going back */
  uploads = new Map();
  running = new AbortController();

  start() {
    const input = /** @type {HTMLInputElement} */ (byId("file"));
    listenForPictures(byId("choose"), input, (file) => this.openFile(file), say);
    document.addEventListener("click", (event) => this.follow(event));
    byId("modes").addEventListener("change", (event) => this.changeMode(event));
    addEventListener("popstate", () => this.open(readRoute(location.search), "restore"));
    history.scrollRestoration = "manual"; // the browser would scroll before the results are there
    this.open(readRoute(location.search), "restore");
  }

  /** @param {File} file */
  openFile(file) {
    const upload = Date.now().toString(36);
    this.uploads.set(upload, toUpload(file));
    this.open({ id: null, upload, mode: this.route.mode }, "push");
  }

  /** @param {Event} event */
  changeMode(event) {
    const mode = toMode(/** @type {HTMLInputElement} */ (event.target).value);
    this.open({ ...this.route, mode }, "replace");
  }

  /**
   * Opens links to this page without loading it again; any other click stays the browser's.
   *
   * @param {MouseEvent} event
   */
  follow(event) {
    const link = /** @type {Element} */ (event.target).closest("a");
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || modified || link.origin !== location.origin || link.pathname !== "/") return;
    event.preventDefault();
    this.open(readRoute(link.search), "push");
  }

  /**
   * @param {Route} route
   * @param {Entry} entry
   */
  async open(route, entry) {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    say("");
    showBusy(true);
    try {
      const view = await this.load(route, signal);
      if (!signal.aborted) this.show(view, route, entry);
    } catch (error) {
      if (!signal.aborted) await this.fail(error, route, entry);
    }
    if (!signal.aborted) showBusy(false);
  }

  /**
   * @param {Route} route
   * @param {AbortSignal} signal
   */
  async load(route, signal) {
    const { id, upload, mode } = route;
    const urlOf = urlsIn(route);
    if (id) return pictureView(id, mode, urlOf, signal);
    if (!upload) return startView(urlOf, signal);
    const held = this.uploads.get(upload);
    if (held) return uploadView(held, mode, urlOf, signal);
    throw new ReadableError(
      "A picture of your own is not kept when this page is left. Please choose it again.",
    );
  }

  /**
   * @param {View} view
   * @param {Route} route
   * @param {Entry} entry
   */
  show(view, route, entry) {
    const trail = this.record(route, entry);
    const { id, upload } = route;
    this.walked = view.query
      ? [...trail, { id, upload, title: view.query.title, thumbnail: view.query.thumbnail }]
      : [];
    this.route = route;
    place(view, route, trail);
    if (entry === "push") byId("heading").focus({ preventScroll: true });
    if (entry !== "replace") scrollTo(0, history.state?.scroll ?? 0);
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
    if (entry === "replace") history.replaceState(history.state, "", routeUrl(route));
    /** @type {Step[]} */
    const trail = history.state?.trail ?? [];
    return trail.filter(({ upload }) => !upload || this.uploads.has(upload));
  }

  /**
   * @param {unknown} error
   * @param {Route} route
   * @param {Entry} entry
   */
  async fail(error, route, entry) {
    if (!(error instanceof ReadableError)) console.error(error);
    if (entry === "restore" && isSearch(route))
      await this.open({ ...route, id: null, upload: null }, "restore");
    showMode(this.route);
    say(error instanceof ReadableError ? error.message : "This page has a fault. Please load it again.");
  }
}

/**
 * @param {Route} route
 * @returns {UrlOf}
 */
function urlsIn({ mode }) {
  return ({ id, upload }) => routeUrl({ id, upload, mode });
}

/**
 * @param {View} view
 * @param {Route} route
 * @param {Step[]} trail
 */
function place({ heading, note, pictures, query, answer }, route, trail) {
  document.body.dataset.view = query ? "search" : "start";
  document.title = query ? `${query.title} – Lookalike` : "Lookalike";
  byId("heading").textContent = heading;
  byId("note").textContent = note;
  byId("pictures").replaceChildren(pictures);
  byId("query").replaceChildren(...(query && answer ? queryPanel(query, answer) : []));
  byId("trail").replaceChildren(...(query ? trailLinks(trail, urlsIn(route)) : []));
  showMode(route);
}

/** @param {Route} route */
function showMode({ mode }) {
  /** @type {HTMLInputElement} */ (document.querySelector(`#modes [value=${mode}]`)).checked = true;
  byId("mode-hint").textContent = MODE_HINTS[mode];
}

new Page().start();
