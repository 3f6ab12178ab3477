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
import { CATALOGUE_CHANGED } from "./browse/demo.js";
import { startView } from "./browse/start-view.js";
import { trashView } from "./browse/trash-view.js";
import { BASE } from "./common/base-url.js";
import { byId } from "./common/dom.js";
import { HttpError, UserError, messageOf } from "./common/errors.js";
import { showToast } from "./common/toast.js";
import { listenForArrows } from "./navigation/grid-keys.js";
import { listenForMenu } from "./navigation/menu.js";
import { Navigation } from "./navigation/navigation.js";
import { NO_SOURCE, isSameView, isSearch, readRoute, routeUrl, withExample } from "./navigation/route.js";
import { Panel } from "./panel/panel.js";
import { PictureActions } from "./panel/picture-actions.js";
import { Scopes } from "./navigation/scopes.js";
import { renderPending, renderView, setBusy, showError, viewName } from "./render.js";
import { DEFAULTS, isFiltered } from "./search/query.js";
import { attachSelection } from "./select/attach.js";
import { selectionActions } from "./select/actions.js";
import { Strip } from "./search/strip.js";
import { Toolbar } from "./search/toolbar.js";
import { pictureView, uploadView } from "./search/views.js";
import { WordSearch } from "./search/words.js";
import { snippetButtons } from "./snippets/snippets.js";

/** @import { PickedFile } from "./add/files.js" */
/** @import { Picture } from "./api/client.js" */
/** @import { HistoryAction } from "./navigation/navigation.js" */
/** @import { Crumb, Route, Source, UrlOf } from "./navigation/route.js" */
/** @import { Query } from "./search/query.js" */
/** @import { View } from "./search/views.js" */

class Page {
  /** @type {Route} of the view that is shown */
  route = readRoute("");
  /** @type {Route} of the view that is loading; equal to `route` if none is */
  target = this.route;
  /** @type {View | null} */
  view = null;
  /** @type {Crumb[]} */
  breadcrumbs = [];
  navigation = new Navigation();
  /** @type {AddPanel | TablePanel | null} */
  addPanel = null;
  running = new AbortController();
  /** @type {HistoryAction | null} of the view that is loading */
  pendingAction = null;
  scopes = new Scopes();
  toolbar = new Toolbar((change) => this.changeQuery(change));
  words = new WordSearch((text) => this.changeQuery({ text }));
  actions = new PictureActions({
    reload: () => this.reload(),
    onDeleted: (picture) => this.onDeleted(picture),
    onRestored: (picture) => this.onRestored(picture),
    onAdded: (id) => this.open({ ...NO_SOURCE, id, query: this.target.query }, "replace"),
  });
  strip = new Strip(byId("query"), {
    crop: (source) => this.crop(source),
    add: (file) => this.actions.add(file),
    open: ({ id }) => this.openPanel(String(id)),
    removeExample: (id) => this.open(withExample(this.target, id, null), "push"),
    mayWrite: () => this.scopes.mayWrite,
  });
  panel = new Panel({
    open: (id) => this.openPanel(id),
    close: () => this.closePanel(),
    addExample: (picture, kind) => this.addExample(picture, kind),
    edit: (picture) => this.actions.edit(picture),
    remove: (picture) => this.actions.remove(picture),
    mayWrite: () => this.scopes.mayWrite,
  });

  selection = attachSelection(byId("pictures"), {
    selectable: () => (this.view && this.view.selectable !== null ? (this.view.selectable ?? {}) : null),
    actions: selectionActions({
      reload: () => this.reload(),
      search: (ids) => this.open(readRoute(`?like=${ids.join(",")}`), "push"),
    }),
    selectAgain: () => {
      this.selection.clear();
      this.reload();
    },
  });

  start() {
    listenForImages({
      search: (file) => this.openFile(file),
      add: (pictures, skipped, table) => this.add(pictures, skipped, table),
      reject: showError,
    });
    listenForArrows();
    listenForMenu();
    byId("other-key").addEventListener("click", () => this.changeKey());
    document.addEventListener("click", (event) => this.onClick(event));
    document.addEventListener(CATALOGUE_CHANGED, () => this.reload());
    addEventListener("popstate", () => this.onPopState(readRoute(location.search)));
    history.scrollRestoration = "manual"; // the browser would scroll before the results are loaded
    this.open(readRoute(location.search), "restore");
  }

  /**
   * Search with a file; the words of the view before belong to that view, and filters stay.
   *
   * @param {File} file
   */
  openFile(file) {
    const upload = this.navigation.addUpload(file);
    this.open({ ...NO_SOURCE, upload, query: { ...this.target.query, sort: null, text: null } }, "push");
  }

  /**
   * Search with a crop of the current picture; ignored if another picture is loading.
   *
   * @param {Source} source
   */
  crop({ id, upload, crop }) {
    if (id === this.target.id && upload === this.target.upload) this.open({ ...this.target, crop }, "replace");
  }

  /** @param {Partial<Query>} change */
  changeQuery(change) {
    this.open({ ...this.target, query: { ...this.target.query, ...change } }, "replace");
  }

  /**
   * @param {Picture} picture
   * @param {"like" | "unlike"} kind
   */
  addExample({ id }, kind) {
    try {
      this.open(withExample(this.target, String(id), kind), "push");
    } catch (error) {
      showToast(messageOf(error));
    }
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
    const [root, onChanged] = [byId("add-panel"), () => this.reload()];
    this.addPanel = table
      ? new TablePanel(root, pictures, table, skipped, onChanged)
      : new AddPanel(root, pictures, skipped, onChanged);
  }

  /** Load the current view again, because the catalogue changed. */
  reload() {
    return this.open(this.target, "replace");
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
  onDeleted({ id }) {
    this.navigation.deleted.add(String(id));
    const route = withExample(this.target, String(id), null);
    return this.open(route.id === String(id) ? { ...NO_SOURCE, query: route.query } : route, "replace");
  }

  /** @param {Picture} picture */
  onRestored({ id }) {
    this.navigation.deleted.delete(String(id));
    return this.reload();
  }

  /** @param {string} id */
  openPanel(id) {
    const isOpen = Boolean(this.route.open);
    this.route = { ...this.route, open: id };
    if (!this.pendingAction) this.target = this.route;
    this.navigation.openPanel(this.route, isOpen);
    this.updatePanel();
  }

  closePanel() {
    const route = { ...this.route, open: null };
    if (this.navigation.closePanel(route)) this.onPopState(route);
  }

  /** @param {Route} route */
  onPopState(route) {
    if (!this.view || this.pendingAction || !isSameView(route, this.route)) return this.open(route, "restore");
    this.route = this.target = route;
    this.updatePanel();
  }

  updatePanel() {
    const { open, query } = this.route;
    if (open && this.view) this.panel.show(open, this.view, urlBuilder(query));
    else this.panel.hide();
  }

  /**
   * Open a tile's picture in the panel, and links to this page without a reload; the browser handles all other clicks.
   *
   * @param {MouseEvent} event
   */
  onClick(event) {
    const link = /** @type {Element} */ (event.target).closest("a");
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (event.defaultPrevented || !link || link.target || modified) return;
    if (link.origin !== location.origin || link.pathname !== BASE.pathname) return;
    event.preventDefault();
    if (link.matches("a.tile") && link.dataset.id) this.openPanel(link.dataset.id);
    else this.open(readRoute(link.search), "push");
  }

  /**
   * @param {Route} route
   * @param {HistoryAction} requested
   */
  async open(route, requested) {
    // A change to a view that is still loading must not replace the entry of the view before it.
    const action = requested === "replace" && this.pendingAction === "push" ? "push" : requested;
    if (action === "push" && !this.pendingAction) this.navigation.saveScroll();
    this.pendingAction = action;
    if (requested !== "replace") this.strip.cancelCrop();
    this.running.abort();
    this.running = new AbortController();
    this.target = route;
    const { signal } = this.running;
    const { open } = this.route;
    showError("");
    this.words.showError("");
    setBusy(true);
    if (requested !== "replace" || !this.view) this.showPending(route);
    try {
      const view = await this.load(route, signal);
      await this.scopes.load();
      const panelChanged = action === "replace" && this.route.open !== open; // while the view was loading
      if (!signal.aborted) this.show(view, panelChanged ? { ...route, open: this.route.open } : route, action);
    } catch (error) {
      if (!signal.aborted) await this.onError(error, route, action);
    }
    if (signal.aborted) return;
    this.pendingAction = null;
    byId("other-key").hidden = !hasKey();
    setBusy(false);
  }

  /**
   * Show the picture of a search that begins, and empty tiles.
   *
   * @param {Route} route
   */
  showPending(route) {
    const { id, upload } = route;
    if (!route.open) this.panel.hide();
    renderPending(viewName(route));
    const saved = upload && this.navigation.uploads.get(upload);
    if (saved) this.strip.showPending(saved.queryImage);
    else if (id && id !== this.route.id)
      this.strip.showPending({ title: "", thumbnail: new URL(`images/${id}/thumbnail`, BASE).href });
  }

  /**
   * @param {Route} route
   * @param {AbortSignal} signal
   */
  async load(route, signal) {
    const { id, upload, duplicates, trash, query } = route;
    const urlOf = urlBuilder(query);
    if (id) return pictureView({ ...route, id }, query, urlOf, signal);
    if (!upload && duplicates) return duplicatesView(duplicates, urlOf, signal);
    if (!upload && trash) return trashView(() => this.reload(), signal);
    if (!upload) return startView(query, (change) => this.changeQuery(change), signal);
    const saved = this.navigation.uploads.get(upload);
    if (saved) return uploadView(saved, route, query, urlOf, signal);
    throw new UserError("Your picture is no longer available after a reload. Choose it again.");
  }

  /**
   * @param {View} view
   * @param {Route} route
   * @param {HistoryAction} action
   */
  show(view, route, action) {
    this.breadcrumbs = this.navigation.enter(route, view.queryImage, action);
    // A selection of all that match must not grow to what matches another filter.
    if (action !== "replace" || (this.selection.all && !isSameView(route, this.route))) this.selection.clear();
    this.route = route;
    this.view = view;
    renderView(view, viewName(route));
    this.selection.onChange();
    this.updateControls();
    if (action === "push") byId("heading").focus({ preventScroll: true });
    if (action !== "replace") scrollTo(0, history.state?.scroll ?? 0);
    this.updatePanel();
  }

  /**
   * Return to the view that is shown, after another one failed to load.
   *
   * @param {HistoryAction} action
   */
  showAgain(action) {
    this.updateControls();
    this.updatePanel();
    if (action === "push") scrollTo(0, history.state?.scroll ?? 0);
  }

  /** Set all controls to the state of the view that is shown. */
  updateControls() {
    const { view, route } = this;
    if (!view) return;
    const { queryImage, examples = { like: [], unlike: [] } } = view;
    if (queryImage) this.strip.show(queryImage, examples, route, this.breadcrumbs, urlBuilder(route.query));
    else this.strip.clear();
    this.words.show(route.query.text);
    this.toolbar.show(route.query, view);
    const request = view.request && { ...view.request, needsKey: hasKey() };
    byId("snippets").replaceChildren(...(request ? [snippetButtons(request)] : []));
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
    renderPending(null);
    document.body.dataset.view = viewName(this.route);
    const fallsBack = action === "restore" && !isAccessDenied(error);
    if (fallsBack && isSearch(route)) await this.open({ ...NO_SOURCE, query: route.query }, "restore");
    else if (fallsBack && isFiltered(route.query)) await this.open({ ...NO_SOURCE, query: DEFAULTS }, "restore");
    else if (this.view) this.showAgain(action);
    else this.strip.clear();
    if (this.words.showRefusal(error, route.query.text)) return;
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
