/**
 * Panel for the query image: the picture with its crop rectangle, its metadata and actions, and the search's timings.
 *
 * The cropper element is reused as long as the picture is the same, so that a drag in progress is not interrupted.
 */

import { button, el } from "../common/dom.js";
import { displayText, formatMilliseconds, pluralise } from "../common/format.js";
import { Cropper } from "../crop/cropper.js";

/** @import { Picture, SearchResponse } from "../api/client.js" */
/** @import { Source } from "../navigation/route.js" */

/**
 * The image that was searched with.
 *
 * @typedef {object} QueryImage
 * @property {string} title
 * @property {string} subtitle
 * @property {string} thumbnail URL
 * @property {string} original URL
 * @property {Picture | null} picture if it is in the catalogue
 * @property {File | null} file if it was uploaded
 */

/**
 * Handlers of the panel's controls.
 *
 * @typedef {object} Actions
 * @property {(source: Source) => void} crop
 * @property {(file: File) => void} add
 * @property {(picture: Picture) => void} edit
 * @property {(picture: Picture) => void} remove
 */

const STAGES = ["decode", "encode", "coarse", "fine", "catalogue"];

export class QueryPanel {
  /** @type {{imageKey: string, cropper: Cropper} | null} */
  shown = null;

  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.details = el("div", { className: "details" });
  }

  /** Cancel a crop in progress, because the page navigates. */
  cancelCrop() {
    this.shown?.cropper.cancel();
  }

  clear() {
    this.cancelCrop();
    this.shown = null;
    this.root.replaceChildren();
  }

  /**
   * @param {QueryImage} queryImage
   * @param {SearchResponse} response
   * @param {Source} source
   */
  show(queryImage, response, { id, upload, crop }) {
    const imageKey = id ?? `upload ${upload}`;
    if (this.shown?.imageKey !== imageKey) {
      this.clear();
      const onCrop = (/** @type {string | null} */ part) => this.actions.crop({ id, upload, crop: part });
      const cropper = new Cropper(queryImage.thumbnail, queryImage.title, queryImage.picture, onCrop);
      this.shown = { imageKey, cropper };
      this.root.append(cropper.element, this.details);
    }
    this.shown.cropper.show(crop);
    this.details.replaceChildren(summary(queryImage, this.actions), timing(response));
  }
}

/**
 * @param {QueryImage} queryImage
 * @param {Actions} actions
 */
function summary({ title, subtitle, original, picture, file }, { add, edit, remove }) {
  const open = el("a", { href: original, target: "_blank", className: "link" }, "Open the original");
  const controls = el("p", { className: "controls" }, open);
  if (file) controls.append(button("Add to catalogue", () => add(file), { className: "link" }));
  if (picture) {
    controls.append(button("Edit", () => edit(picture), { className: "link" }));
    controls.append(button("Delete", () => remove(picture), { className: "link" }));
  }
  const name = [el("p", { className: "title" }, title), el("p", { className: "key" }, subtitle)];
  return el("div", { className: "summary" }, ...name, metadataList(picture?.metadata ?? {}), controls);
}

/** @param {Record<string, unknown>} metadata */
function metadataList(metadata) {
  const rows = Object.entries(metadata).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, displayText(value))),
  );
  return el("dl", {}, ...rows);
}

/** @param {SearchResponse} response */
function timing({ timings_ms: timings, catalogue_size: size }) {
  const stages = STAGES.filter((stage) => timings[stage] > 0);
  const bar = el(
    "div",
    { className: "stages", ariaHidden: "true" },
    ...stages.map((stage) => barSegment(stage, timings)),
  );
  const legend = stages.map((stage) =>
    el("li", { className: stage }, `${stage} ${formatMilliseconds(timings[stage])}`),
  );
  const total = el("strong", {}, `${formatMilliseconds(timings.total)} ms`);
  return el(
    "div",
    { className: "timing" },
    el("p", {}, total, ` for ${pluralise(size, "picture")}`),
    bar,
    el("ul", {}, ...legend),
  );
}

/**
 * @param {string} stage
 * @param {Record<string, number>} timings
 */
function barSegment(stage, timings) {
  const segment = el("span", { className: stage });
  segment.style.flexGrow = String(timings[stage]);
  return segment;
}
