/**
 * Panel with one picture: beside the results on wide screens, over them on narrow ones.
 *
 * Arrow keys show the next result, Escape closes the panel, and the focus returns to the result that was shown last.
 */

import { getPicture } from "../api/client.js";
import { byId, button, el, image } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { WIDE } from "../filters/filter-place.js";
import { NO_SOURCE } from "../navigation/route.js";
import { captionTitle } from "../search/captions.js";
import { markCurrent, pictureOf } from "../search/tiles.js";
import { fieldTable } from "./fields.js";
import { reasons } from "./reasons.js";

/** @import { Picture } from "../api/client.js" */
/** @import { UrlOf } from "../navigation/route.js" */
/** @import { View } from "../search/views.js" */

/**
 * Handlers of the panel's controls.
 *
 * @typedef {object} Actions
 * @property {(id: string) => void} open another picture
 * @property {() => void} close
 * @property {(picture: Picture, kind: "like" | "unlike") => void} addExample
 * @property {(picture: Picture) => void} edit
 * @property {(picture: Picture) => void} remove
 * @property {() => boolean} mayWrite whether the API key allows to edit and delete
 */

export class Panel {
  root = /** @type {HTMLDialogElement} */ (byId("panel"));
  /** @type {string | null} id of the picture that is shown */
  shown = null;
  running = new AbortController();

  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.root.addEventListener("cancel", (event) => {
      event.preventDefault(); // Escape in a modal dialog: the URL changes too
      actions.close();
    });
    this.root.addEventListener("close", () => {
      if (this.shown !== null && !this.root.open) actions.close(); // closed by the browser
    });
    document.addEventListener("keydown", (event) => this.onKeyDown(event));
    WIDE.addEventListener("change", () => this.shown && this.openDialog());
  }

  /** @param {KeyboardEvent} event */
  onKeyDown(event) {
    const { key, target } = event;
    const inside = target instanceof Element && this.root.contains(target);
    const elsewhere = document.querySelector("dialog:modal:not(#panel)") || isTextInput(target);
    if (!this.shown || elsewhere || event.defaultPrevented || hasModifier(event)) return;
    if (key === "Escape" && !this.root.matches(":modal")) this.actions.close();
    else if (inside && (key === "ArrowRight" || key === "ArrowLeft")) this.step(key === "ArrowRight" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  /** @param {number} by 1 for the next result, -1 for the one before */
  step(by) {
    const tiles = shownTiles();
    const position = tiles.findIndex((tile) => tile.dataset.id === this.shown);
    const next = tiles[position + by];
    if (next && position >= 0) this.actions.open(String(next.dataset.id));
  }

  /**
   * Show a picture: at once what its tile knows, then what the service says.
   *
   * @param {string} id
   * @param {View} view
   * @param {UrlOf} urlOf
   */
  async show(id, view, urlOf) {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    const wasOpen = this.shown !== null;
    this.shown = id;
    const tile = tileOf(id);
    const known = tile && pictureOf(tile);
    this.draw(known ? [this.header(captionTitle(known)), largePicture(known)] : [this.header("Picture")]);
    this.openDialog();
    markCurrent(id);
    if (!wasOpen || !this.root.contains(document.activeElement)) byId("panel-title").focus({ preventScroll: true });
    tile?.scrollIntoView({ block: "nearest" });
    try {
      const picture = await getPicture(id, signal);
      if (!signal.aborted) this.drawPicture(picture, view, urlOf);
    } catch (error) {
      if (!signal.aborted) this.root.append(el("p", { className: "error", role: "alert" }, messageOf(error)));
    }
  }

  openDialog() {
    document.body.classList.add("panel-open");
    if (this.root.open && this.root.matches(":modal") !== WIDE.matches) return;
    this.root.close();
    if (WIDE.matches) this.root.show();
    else this.root.showModal();
  }

  hide() {
    if (this.shown === null) return;
    this.running.abort();
    const last = tileOf(this.shown);
    const hadFocus = this.root.contains(document.activeElement) || document.activeElement === document.body;
    this.shown = null;
    this.root.close();
    this.root.replaceChildren();
    document.body.classList.remove("panel-open");
    markCurrent(null);
    if (hadFocus) last?.focus({ preventScroll: true });
  }

  /** @param {string} title */
  header(title) {
    const steps = shownTiles().length > 1
      ? [
          button("‹", () => this.step(-1), { className: "close", ariaLabel: "Previous picture" }),
          button("›", () => this.step(1), { className: "close", ariaLabel: "Next picture" }),
        ]
      : [];
    const close = button("×", () => this.actions.close(), { className: "close", ariaLabel: "Close" });
    return el("header", {}, el("h2", { id: "panel-title", tabIndex: -1 }, title), ...steps, close);
  }

  /**
   * @param {Picture} picture
   * @param {View} view
   * @param {UrlOf} urlOf
   */
  drawPicture(picture, view, urlOf) {
    const { queryImage, examples, response } = view;
    const isQuery = queryImage?.picture?.id === picture.id;
    const match = isQuery ? null : response?.results.find(({ id }) => id === picture.id);
    const liked = [queryImage?.picture, ...(examples?.like ?? [])].filter((one) => one !== null && one !== undefined);
    const why = match?.explanation && response ? [reasons(match, response, liked)] : [];
    this.draw([
      this.header(captionTitle(picture)),
      largePicture(picture),
      this.controls(picture, view, urlOf),
      ...why,
      fieldTable(picture),
      seenByModel(picture),
    ]);
  }

  /**
   * @param {Picture} picture
   * @param {View} view
   * @param {UrlOf} urlOf
   */
  controls(picture, { queryImage }, urlOf) {
    const find = el("a", { className: "primary", href: urlOf({ ...NO_SOURCE, id: String(picture.id) }) }, "Find similar");
    const controls = el("div", { className: "controls" }, find);
    if (queryImage && queryImage.picture?.id !== picture.id) {
      controls.append(
        button("More like this", () => this.actions.addExample(picture, "like"), { className: "disclosure plain" }),
        button("Less like this", () => this.actions.addExample(picture, "unlike"), { className: "disclosure plain" }),
      );
    }
    if (this.actions.mayWrite()) {
      controls.append(
        button("Edit", () => this.actions.edit(picture), { className: "disclosure plain" }),
        button("Delete", () => this.actions.remove(picture), { className: "disclosure plain danger" }),
      );
    }
    return controls;
  }

  /**
   * Replace the content and keep the focus on the control with the same name.
   *
   * @param {Node[]} content
   */
  draw(content) {
    const active = /** @type {HTMLElement} */ (document.activeElement);
    const name = this.root.contains(active) ? nameOf(active) : null;
    const scroll = this.root.scrollTop;
    const toasts = this.root.querySelectorAll(":scope > #toasts"); // while the panel is modal
    this.root.replaceChildren(...content, ...toasts);
    this.root.scrollTop = scroll;
    const same = [...this.root.querySelectorAll("button, a, summary")].find((control) => nameOf(control) === name);
    if (name !== null) /** @type {HTMLElement} */ (same ?? byId("panel-title")).focus({ preventScroll: true });
  }
}

/**
 * The thumbnail at once, and the original as soon as it is loaded, if the browser can show it.
 *
 * @param {Picture} picture
 */
function largePicture(picture) {
  const { thumbnail_url: thumbnail, image_url: original } = picture;
  const shown = image(thumbnail, captionTitle(picture));
  const loaded = new Image();
  loaded.addEventListener("load", () => (shown.src = loaded.src));
  loaded.src = original;
  const link = el("a", { href: original, target: "_blank", title: "Open the original" }, shown);
  return el("div", { className: "large-picture" }, link);
}

/**
 * The pixels that the model reads of the picture, loaded when they are shown.
 *
 * @param {Picture} picture
 */
function seenByModel({ image_url: original }) {
  const seen = el("details", { className: "seen" }, el("summary", {}, "What the model sees"));
  const load = () => seen.append(image(original.replace(/original$/, "seen"), "The picture as the model sees it"));
  seen.addEventListener("toggle", load, { once: true });
  return seen;
}

/** @returns {HTMLElement[]} tiles that are not folded */
function shownTiles() {
  const tiles = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#pictures a.tile"));
  return [...tiles].filter((tile) => tile.checkVisibility());
}

/**
 * @param {string} id
 * @returns {HTMLElement | null}
 */
function tileOf(id) {
  return document.querySelector(`#pictures a.tile[data-id="${id}"]`);
}

/** @param {Element} control */
function nameOf(control) {
  return control.ariaLabel ?? control.textContent;
}

/** @param {EventTarget | null} target */
function isTextInput(target) {
  return target instanceof Element && target.matches("input:not([type=checkbox]), textarea, select");
}

/** @param {KeyboardEvent} event */
function hasModifier({ ctrlKey, metaKey, altKey, shiftKey }) {
  return ctrlKey || metaKey || altKey || shiftKey;
}
