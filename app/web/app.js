/**
 * Entry point of the page: connects the URL, the API and the document.
 *
 * `Page.open` handles every navigation: load the route's view, update the history, render. If a search fails, the
 * page still shows the previous view. Uploads exist only in memory; after a reload, their URLs fall back to the start.
 */

import { AddPanel } from "./add/add-panel.js";
import { TablePanel } from "./add/table-panel.js";
import { listenForImages } from "./add/image-input.js";
import { closeSession, hasKey } from "./api/session.js";
import { duplicatesView } from "./duplicates/duplicates-view.js";
import { startView } from "./browse/start-view.js";
import { trashView } from "./browse/trash-view.js";
import { BASE } from "./common/base-url.js";
import { byId } from "./common/dom.js";
import { HttpError, UserError, messageOf } from "./common/errors.js";
import { openDelete, openEdit } from "./edit/edit-dialogs.js";
import { Navigation } from "./navigation/navigation.js";
import { NO_SOURCE, isSearch, readRoute, routeUrl } from "./navigation/route.js";
import { announce, renderView, setBusy, showError } from "./render.js";
import { QueryPanel } from "./search/query-panel.js";
import { DEFAULTS } from "./search/query.js";
import { attachSelection } from "./select/attach.js";
import { selectionActions } from "./select/actions.js";
import { Toolbar } from "./search/toolbar.js";
import { pictureView, uploadView } from "./search/views.js";

/** @import { PickedFile } from "./add/files.js" */
/** @import { Picture } from "./api/client.js" */
/** @import { HistoryAction } from "./navigation/navigation.js" */
/** @import { Route, Source, UrlOf } from "./navigation/route.js" */
/** @import { Query } from "./search/query.js" */
/** @import { View } from "./search/views.js" */

class Page {
  /** @type {Route} of the view that is shown */
  route = readRoute("");
  /** @type {Route} of the view that is loading; equal to `route` if none is */
  target = this.route;
  /** @type {View | null} */
  view = null;
  navigation = new Navigation();
  /** @type {AddPanel | TablePanel | null} */
  addPanel = null;
  running = new AbortController();
  /** @type {HistoryAction | null} of the view that is loading */
  pendingAction = null;
  toolbar = new Toolbar((change) => this.changeQuery(change));
  queryPanel = new QueryPanel(byId("query"), {
    crop: (source) => this.crop(source),
    add: (file) => this.add([{ file, path: "" }], 0),
    edit: (picture) => openEdit(picture, () => this.reload("Saved.")),
    remove: (picture) => openDelete(picture, () => this.onDeleted(picture)),
  });

  selection = attachSelection(byId("pictures"), {
    selectable: () => (this.view && this.view.selectable !== null ? (this.view.selectable ?? {}) : null),
    actions: selectionActions({
      reload: () => this.reload(""),
      clear: () => this.selection.clear(),
      search: (ids) => this.open(readRoute(`?like=${ids.join(",")}`), "push"),
    }),
    selectAgain: () => {
      this.selection.clear();
      this.reload("");
    },
  });

  start() {
    listenForImages({
      search: (file) => this.openFile(file),
      add: (pictures, skipped, table) => this.add(pictures, skipped, table),
      reject: showError,
    });
    byId("other-key").addEventListener("click", () => this.changeKey());
    document.addEventListener("click", (event) => this.onClick(event));
    addEventListener("popstate", () => this.open(readRoute(location.search), "restore"));
    history.scrollRestoration = "manual"; // the browser would scroll before the results are loaded
    this.open(readRoute(location.search), "restore");
  }

  /** @param {File} file */
  openFile(file) {
    const upload = this.navigation.addUpload(file);
    this.open({ ...NO_SOURCE, upload, query: this.target.query }, "push");
  }

  /**
   * Search with a crop of the current picture; ignored if another picture is loading.
   *
   * @param {Source} source
   */
  crop(source) {
    const { id, upload } = this.target;
    if (source.id === id && source.upload === upload) this.open({ ...this.target, ...source }, "replace");
  }

  /** @param {Partial<Query>} change */
  changeQuery(change) {
    this.open({ ...this.target, query: { ...this.target.query, ...change } }, "replace");
  }

  /**
   * @param {PickedFile[]} pictures
   * @param {number} skipped
   * @param {PickedFile | null} [table]
   */
  add(pictures, skipped, table = null) {
    if (this.addPanel?.running)
      return showError("An upload is in progress. Stop it, or wait until it is done.");
    showError("");
    const [root, onChanged] = [byId("add-panel"), () => this.reload("")];
    this.addPanel = table
      ? new TablePanel(root, pictures, table, skipped, onChanged)
      : new AddPanel(root, pictures, skipped, onChanged);
  }

  /**
   * Load the current view again, because the catalogue changed.
   *
   * @param {string} message for screen readers
   */
  async reload(message) {
    await this.open(this.target, "replace");
    announce(message);
  }

  /** Close the session and load the view again, so that the service requires a key. */
  async changeKey() {
    try {
      await closeSession();
    } catch (error) {
      return showError(messageOf(error));
    }
    await this.open(readRoute(location.search), "restore");
  }

  /** @param {Picture} picture */
  async onDeleted({ id }) {
    this.navigation.deleted.add(String(id));
    await this.open({ ...NO_SOURCE, query: this.target.query }, "replace");
    announce("Deleted.");
  }

  /**
   * Open links to this page without a reload; the browser handles all other clicks.
   *
   * @param {MouseEvent} event
   */
  onClick(event) {
    const link = /** @type {Element} */ (event.target).closest("a");
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || link.target || modified || link.origin !== location.origin || link.pathname !== BASE.pathname) return;
    event.preventDefault();
    this.open(readRoute(link.search), "push");
  }

  /**
   * @param {Route} route
   * @param {HistoryAction} requested
   */
  async open(route, requested) {
    // A change to a view that is still loading must not replace the entry of the view before it.
    const action = requested === "replace" && this.pendingAction === "push" ? "push" : requested;
    this.pendingAction = action;
    if (requested !== "replace") this.queryPanel.cancelCrop();
    this.running.abort();
    this.running = new AbortController();
    this.target = route;
    const { signal } = this.running;
    showError("");
    setBusy(true);
    try {
      const view = await this.load(route, signal);
      if (!signal.aborted) this.show(view, route, action);
    } catch (error) {
      if (!signal.aborted) await this.onError(error, route, action);
    }
    if (signal.aborted) return;
    this.pendingAction = null;
    byId("other-key").hidden = !hasKey();
    setBusy(false);
  }

  /**
   * @param {Route} route
   * @param {AbortSignal} signal
   */
  async load({ id, upload, crop, duplicates, trash, query }, signal) {
    const urlOf = urlBuilder(query);
    if (id) return pictureView(id, crop, query, urlOf, signal);
    if (!upload && duplicates) return duplicatesView(duplicates, urlOf, signal);
    if (!upload && trash) return trashView(() => this.reload(""), signal);
    if (!upload) return startView(query, (change) => this.changeQuery(change), signal);
    const saved = this.navigation.uploads.get(upload);
    if (saved) return uploadView(saved, crop, query, urlOf, signal);
    throw new UserError("Your picture is no longer available after a reload. Choose it again.");
  }

  /**
   * @param {View} view
   * @param {Route} route
   * @param {HistoryAction} action
   */
  show(view, route, action) {
    const breadcrumbs = this.navigation.enter(route, view.queryImage, action);
    this.route = route;
    this.view = view;
    if (action !== "replace") this.selection.clear();
    renderView(view, breadcrumbs, urlBuilder(route.query));
    if (!isSearch(route) && route.duplicates) document.body.dataset.view = "duplicates";
    if (!isSearch(route) && route.trash) document.body.dataset.view = "trash";
    this.updateControls();
    if (action === "push") byId("heading").focus({ preventScroll: true });
    if (action !== "replace") scrollTo(0, history.state?.scroll ?? 0);
  }

  /** Set all controls to the state of the view that is shown, also after a failed change. */
  updateControls() {
    const { view, route } = this;
    if (!view) return;
    if (view.queryImage && view.response) this.queryPanel.show(view.queryImage, view.response, route);
    else this.queryPanel.clear();
    this.toolbar.show(route.query, view);
  }

  /**
   * Show an error. A URL that fails to load falls back to the start with its filters, then to the start without
   * them; not if the client is denied access, because then every URL fails.
   *
   * @param {unknown} error
   * @param {Route} route
   * @param {HistoryAction} action
   */
  async onError(error, route, action) {
    if (!(error instanceof UserError)) console.error(error);
    this.target = this.route;
    const filtered = route.query.label !== null || route.query.filter !== null;
    const fallsBack = action === "restore" && !isAccessDenied(error);
    if (fallsBack && isSearch(route)) await this.open({ ...NO_SOURCE, query: route.query }, "restore");
    else if (fallsBack && filtered) await this.open({ ...NO_SOURCE, query: DEFAULTS }, "restore");
    else this.updateControls();
    showError(error instanceof UserError ? error.message : "An unexpected error occurred. Reload the page.");
  }
}

/** @param {unknown} error */
function isAccessDenied(error) {
  return error instanceof HttpError && [401, 403].includes(error.status);
}

/**
 * @param {Query} query
 * @returns {UrlOf}
 */
function urlBuilder(query) {
  return (source) => routeUrl({ ...source, query });
}

new Page().start();
