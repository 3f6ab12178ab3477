/**
 * The page: joins the address, the API and the document.
 *
 * `Page.open` is the one way: what the address says → what there is to show → history → document. A search
 * that fails leaves what was shown as it was. Uploaded pictures live in this page's memory only; an address
 * with one of them falls back to the start when the page was loaded anew.
 */

import { AddPanel } from "./addpanel.js";
import { USUAL } from "./asked.js";
import { BASE } from "./base.js";
import { PAGE, startView } from "./browse.js";
import { byId } from "./dom.js";
import { openDelete, openEdit } from "./edit.js";
import { ReadableError, Refusal } from "./errors.js";
import { listenForPictures } from "./intake.js";
import { Journey } from "./journey.js";
import { QueryPanel } from "./panel.js";
import { announce, placeView, say, showBusy } from "./place.js";
import { NOTHING, isSearch, readRoute, routeUrl } from "./route.js";
import { closeSession, hasKey } from "./session.js";
import { Tools } from "./tools.js";
import { pictureView, uploadView } from "./views.js";

/** @import { Picture } from "./api.js" */
/** @import { Asked } from "./asked.js" */
/** @import { Given } from "./files.js" */
/** @import { Entry } from "./journey.js" */
/** @import { Route, Source, UrlOf } from "./route.js" */
/** @import { View } from "./views.js" */

class Page {
  /** @type {Route} what is shown */
  route = readRoute("");
  /** @type {Route} what is shown, or will be once it is there */
  next = this.route;
  /** @type {View | null} */
  view = null;
  journey = new Journey();
  /** @type {AddPanel | null} */
  adding = null;
  running = new AbortController();
  /** @type {Entry | null} what becomes of the history entry of what is on its way */
  coming = null;
  tools = new Tools((change) => this.ask(change));
  panel = new QueryPanel(byId("query"), {
    crop: (source) => this.crop(source),
    add: (file) => this.add([{ file, path: "" }], 0),
    edit: (picture) => openEdit(picture, () => this.again("Saved.")),
    remove: (picture) => openDelete(picture, () => this.leave(picture)),
  });

  start() {
    listenForPictures({
      search: (file) => this.openFile(file),
      add: (pictures, leftOut) => this.add(pictures, leftOut),
      refuse: say,
    });
    byId("other-key").addEventListener("click", () => this.changeKey());
    document.addEventListener("click", (event) => this.follow(event));
    addEventListener("popstate", () => this.open(readRoute(location.search), "restore"));
    history.scrollRestoration = "manual"; // the browser would scroll before the results are there
    this.open(readRoute(location.search), "restore");
  }

  /** @param {File} file */
  openFile(file) {
    const upload = this.journey.keep(file);
    this.open({ ...NOTHING, upload, asked: this.next.asked }, "push");
  }

  /**
   * Searches with a part of the picture that is shown, unless another is on its way.
   *
   * @param {Source} source
   */
  crop(source) {
    const { id, upload } = this.next;
    if (source.id === id && source.upload === upload) this.open({ ...this.next, ...source }, "replace");
  }

  /** @param {Partial<Asked>} change */
  ask(change) {
    this.open({ ...this.next, asked: { ...this.next.asked, ...change } }, "replace");
  }

  /**
   * @param {Given[]} pictures
   * @param {number} leftOut
   */
  add(pictures, leftOut) {
    if (this.adding?.running) return say("Others are on their way. Please wait for them, or stop them.");
    say("");
    this.adding = new AddPanel(byId("adding"), pictures, leftOut, () => this.again(""));
  }

  /**
   * Shows the same anew, because the catalogue is another.
   *
   * @param {string} sentence
   */
  async again(sentence) {
    await this.open(this.next, "replace");
    announce(sentence);
  }

  /** Gives the key back and shows the same anew, whereupon the service asks for one. */
  async changeKey() {
    try {
      await closeSession();
    } catch (error) {
      return say(error instanceof Error ? error.message : String(error));
    }
    await this.open(readRoute(location.search), "restore");
  }

  /** @param {Picture} picture that is no more */
  async leave({ id }) {
    this.journey.deleted.add(String(id));
    await this.open({ ...NOTHING, asked: this.next.asked }, "replace");
    announce("Deleted.");
  }

  /**
   * Opens links to this page without loading it again; any other click stays the browser's.
   *
   * @param {MouseEvent} event
   */
  follow(event) {
    const link = /** @type {Element} */ (event.target).closest("a");
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || link.target || modified || link.origin !== location.origin || link.pathname !== BASE.pathname) return;
    event.preventDefault();
    this.open(readRoute(link.search), "push");
  }

  /**
   * @param {Route} route
   * @param {Entry} wanted
   */
  async open(route, wanted) {
    // What is changed before it is there is still new.
    const entry = wanted === "replace" && this.coming === "push" ? "push" : wanted;
    this.coming = entry;
    if (wanted !== "replace") this.panel.drop();
    this.running.abort();
    this.running = new AbortController();
    this.next = route;
    const { signal } = this.running;
    say("");
    showBusy(true);
    try {
      const view = await this.load(route, entry, signal);
      if (!signal.aborted) this.show(view, route, entry);
    } catch (error) {
      if (!signal.aborted) await this.fail(error, route, entry);
    }
    if (signal.aborted) return;
    this.coming = null;
    byId("other-key").hidden = !hasKey();
    showBusy(false);
  }

  /**
   * @param {Route} route
   * @param {Entry} entry
   * @param {AbortSignal} signal
   */
  async load({ id, upload, crop, asked }, entry, signal) {
    const urlOf = urlsIn(asked);
    if (id) return pictureView(id, crop, asked, urlOf, signal);
    if (!upload) return startView(asked, shownBefore(entry), urlOf, rememberShown, signal);
    const held = this.journey.uploads.get(upload);
    if (held) return uploadView(held, crop, asked, urlOf, signal);
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
    const trail = this.journey.arrive(route, view.query, entry);
    this.route = route;
    this.view = view;
    placeView(view, trail, urlsIn(route.asked));
    this.showControls();
    if (entry === "push") byId("heading").focus({ preventScroll: true });
    if (entry !== "replace") scrollTo(0, history.state?.scroll ?? 0);
  }

  /** Sets every control to what is shown, after a failure too. */
  showControls() {
    const { view, route } = this;
    if (!view) return;
    if (view.query && view.answer) this.panel.show(view.query, view.answer, route);
    else this.panel.clear();
    this.tools.show(route.asked, view);
  }

  /**
   * Says what went wrong. An address that cannot be shown falls back: to the start, then to all of it; not where
   * every address is closed to whoever asks.
   *
   * @param {unknown} error
   * @param {Route} route
   * @param {Entry} entry
   */
  async fail(error, route, entry) {
    if (!(error instanceof ReadableError)) console.error(error);
    this.next = this.route;
    const narrowed = route.asked.label !== null || route.asked.filter !== null;
    const fallsBack = entry === "restore" && !isShutOut(error);
    if (fallsBack && isSearch(route)) await this.open({ ...NOTHING, asked: route.asked }, "restore");
    else if (fallsBack && narrowed) await this.open({ ...NOTHING, asked: USUAL }, "restore");
    else this.showControls();
    say(error instanceof ReadableError ? error.message : "This page has a fault. Please load it again.");
  }
}

/** @param {unknown} error */
function isShutOut(error) {
  return error instanceof Refusal && [401, 403].includes(error.status);
}

/**
 * @param {Asked} asked
 * @returns {UrlOf}
 */
function urlsIn(asked) {
  return (source) => routeUrl({ ...source, asked });
}

/** @param {Entry} entry */
function shownBefore(entry) {
  return entry === "restore" ? (history.state?.shown ?? PAGE) : PAGE;
}

/** @param {number} shown */
function rememberShown(shown) {
  history.replaceState({ ...history.state, shown }, "");
}

new Page().start();
