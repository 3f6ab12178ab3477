/**
 * A group of duplicates to decide about: the pictures side by side with their fields, and what can be done.
 *
 * A decision takes effect at once; the group then becomes a line that says so, with a button to undo it.
 */

import { deleteSelected, restoreDeletion } from "../api/bulk.js";
import { updatePicture } from "../api/client.js";
import { markDistinct, mergeDuplicates, unmarkDistinct } from "../api/duplicates.js";
import { button, el, image } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { displayText, pluralise } from "../common/format.js";
import { NO_SOURCE } from "../navigation/route.js";

/** @import { DuplicateGroup, Picture } from "../api/client.js" */
/** @import { Merged } from "../api/duplicates.js" */
/** @import { UrlOf } from "../navigation/route.js" */

/** @typedef {{text: string, undo: (() => Promise<unknown>) | null}} Outcome */

export class Group {
  message = el("p", { className: "error", role: "alert" });
  card = el("div", { className: "group-card" });
  element = el("li", {}, this.card);

  /**
   * @param {DuplicateGroup} group
   * @param {UrlOf} urlOf
   */
  constructor({ image: oldest, duplicates, complete }, urlOf) {
    this.pictures = [oldest, ...duplicates];
    this.kept = best(this.pictures);
    const heading = `${complete ? "" : "More than "}${pluralise(this.pictures.length, "picture")}`;
    const comparison = el("div", { className: "comparison" }, comparisonTable(this, urlOf));
    this.card.append(el("h3", {}, heading), comparison, this.actions(complete), this.message);
  }

  get others() {
    return this.pictures.filter(({ id }) => id !== this.kept.id);
  }

  /** @param {boolean} complete */
  actions(complete) {
    const distinct = this.pictures.length > 2 ? "All different" : "Not the same";
    return el(
      "p",
      { className: "controls" },
      write(button("Keep one, merge details", () => this.decide(() => this.merge()), { className: "primary" })),
      write(button("Keep one, delete the rest", () => this.decide(() => this.deleteOthers()), { className: "secondary danger" })),
      write(button(distinct, () => this.decide(() => this.separate()), { className: "secondary" })),
      ...(complete ? [] : [el("span", { className: "hint" }, "The group continues after these are decided.")]),
    );
  }

  /** @returns {Promise<Outcome>} */
  async merge() {
    const { kept, others } = this;
    const merged = await mergeDuplicates(
      kept.id,
      others.map(({ id }) => id),
    );
    const { added, deleted, deletion_id: deletion } = merged;
    const undo = async () => {
      await restoreDeletion(/** @type {number} */ (deletion));
      await updatePicture(kept.id, without(added));
    };
    const text = `Kept ${nameOf(kept)} with all details; ${pluralise(deleted, "picture")} deleted.`;
    return { text, undo: deletion === null ? null : undo };
  }

  /** @returns {Promise<Outcome>} */
  async deleteOthers() {
    const ids = this.others.map(({ id }) => id);
    const { deletion_id: deletion } = await deleteSelected({ ids, matching: null, count: ids.length });
    const undo = deletion === null ? null : () => restoreDeletion(deletion);
    return { text: `Kept ${nameOf(this.kept)}; ${pluralise(ids.length, "picture")} deleted.`, undo };
  }

  /** @returns {Promise<Outcome>} */
  async separate() {
    const ids = this.pictures.map(({ id }) => id);
    await markDistinct(ids);
    return { text: `Not the same: ${this.pictures.map(nameOf).join(", ")}.`, undo: () => unmarkDistinct(ids) };
  }

  /** @param {() => Promise<Outcome>} action */
  async decide(action) {
    await this.run(async () => {
      const { text, undo } = await action();
      const undoButton = undo && button("Undo", () => this.run(() => this.restore(undo)), { className: "link" });
      const line = el("p", { className: "decided", tabIndex: -1 }, el("span", {}, text), ...(undoButton ? [undoButton] : []));
      this.element.replaceChildren(line, this.message);
      const next = /** @type {HTMLElement | null} */ (this.element.nextElementSibling?.querySelector(":checked"));
      (next ?? line).focus({ preventScroll: true });
    });
  }

  /** @param {() => Promise<unknown>} undo */
  async restore(undo) {
    await undo();
    this.card.append(this.message);
    this.element.replaceChildren(this.card);
    /** @type {HTMLElement} */ (this.card.querySelector(":checked")).focus({ preventScroll: true });
  }

  /**
   * Disable the buttons while an action runs, and show why it failed.
   *
   * @param {() => Promise<void>} action
   */
  async run(action) {
    const buttons = [...this.element.querySelectorAll("button")];
    this.message.textContent = "";
    for (const one of buttons) one.disabled = true;
    try {
      await action();
    } catch (error) {
      this.message.textContent = messageOf(error);
    }
    for (const one of buttons) one.disabled = false;
  }
}

/**
 * @param {HTMLElement} element
 * @returns {HTMLElement} hidden if the API key may not change pictures
 */
function write(element) {
  element.dataset.scope = "write";
  return element;
}

/**
 * Return the picture to keep unless another one is chosen: the largest, of these the one with most fields, or the first.
 *
 * @param {Picture[]} pictures
 */
function best(pictures) {
  const pixels = (/** @type {Picture} */ { width, height }) => width * height;
  const fields = (/** @type {Picture} */ { metadata }) => Object.keys(metadata).length;
  return [...pictures].sort((a, b) => pixels(b) - pixels(a) || fields(b) - fields(a))[0];
}

/**
 * Return the patch that removes what merging has added.
 *
 * @param {Merged["added"]} added
 */
function without({ label, metadata }) {
  const removed = Object.fromEntries(Object.keys(metadata).map((name) => [name, null]));
  return label === null ? { metadata: removed } : { label: null, metadata: removed };
}

/** @param {Picture} picture */
function nameOf({ key }) {
  return key;
}

/**
 * @param {Group} group
 * @param {UrlOf} urlOf
 */
function comparisonTable(group, urlOf) {
  const { pictures } = group;
  const heads = pictures.map((picture) => el("th", { scope: "col" }, ...columnHead(group, picture, urlOf)));
  const names = [...new Set(pictures.flatMap(({ metadata }) => Object.keys(metadata)))];
  const rows = [
    row("Key", pictures.map(({ key }) => key)),
    row("Label", pictures.map(({ label }) => label ?? "")),
    row("Size", pictures.map(({ width, height }) => `${width} × ${height}`)),
    ...names.map((name) =>
      row(name, pictures.map(({ metadata }) => (name in metadata ? displayText(metadata[name]) : ""))),
    ),
  ];
  return el("table", {}, el("thead", {}, el("tr", {}, el("td"), ...heads)), el("tbody", {}, ...rows));
}

/**
 * @param {Group} group
 * @param {Picture} picture
 * @param {UrlOf} urlOf
 */
function columnHead(group, picture, urlOf) {
  const { id, key, thumbnail_url: thumbnail } = picture;
  const name = `keep-${group.pictures[0].id}`;
  const radio = el("input", { type: "radio", name, value: String(id), checked: picture === group.kept });
  radio.addEventListener("change", () => {
    group.kept = picture;
  });
  const link = el("a", { href: urlOf({ ...NO_SOURCE, id: String(id) }) }, image(thumbnail, key));
  link.dataset.picture = String(id);
  return [link, write(el("label", { className: "keep" }, radio, el("span", {}, "Keep")))];
}

/**
 * A row of the table; it stands out if the pictures differ in it.
 *
 * @param {string} name
 * @param {string[]} values
 */
function row(name, values) {
  const className = new Set(values).size > 1 ? "differs" : "";
  return el("tr", { className }, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value)));
}
