/**
 * The panel of what was searched with: the picture and the part of it that counts, its words, what can be done
 * with it, and the time that the search took.
 *
 * While the picture stays the same so does its element, or a hand that moves the box would lose it.
 */

import { Cropper } from "./cropper.js";
import { button, counted, el, milliseconds, plain } from "./dom.js";

/** @import { Answer, Picture } from "./api.js" */
/** @import { Source } from "./route.js" */

/**
 * What was searched with.
 *
 * @typedef {object} Query
 * @property {string} title
 * @property {string} subtitle
 * @property {string} thumbnail
 * @property {string} original
 * @property {Picture | null} picture of the catalogue
 * @property {File | null} file
 */

/**
 * What the panel's controls do.
 *
 * @typedef {object} Actions
 * @property {(source: Source) => void} crop
 * @property {(file: File) => void} add
 * @property {(picture: Picture) => void} edit
 * @property {(picture: Picture) => void} remove
 */

const STAGES = ["decode", "encode", "coarse", "fine", "catalogue"];

export class QueryPanel {
  /** @type {{of: string, cropper: Cropper} | null} */
  shown = null;

  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.rest = el("div", { className: "beside" });
  }

  /** Leaves what a hand has begun, because the page goes elsewhere. */
  drop() {
    this.shown?.cropper.drop();
  }

  clear() {
    this.drop();
    this.shown = null;
    this.root.replaceChildren();
  }

  /**
   * @param {Query} query
   * @param {Answer} answer
   * @param {Source} source
   */
  show(query, answer, { id, upload, crop }) {
    const of = id ?? `upload ${upload}`;
    if (this.shown?.of !== of) {
      this.clear();
      const onCrop = (/** @type {string | null} */ part) => this.actions.crop({ id, upload, crop: part });
      const cropper = new Cropper(query.thumbnail, query.title, query.picture, onCrop);
      this.shown = { of, cropper };
      this.root.append(cropper.element, this.rest);
    }
    this.shown.cropper.show(crop);
    this.rest.replaceChildren(words(query, this.actions), timing(answer));
  }
}

/**
 * @param {Query} query
 * @param {Actions} actions
 */
function words({ title, subtitle, original, picture, file }, { add, edit, remove }) {
  const whole = el("a", { href: original, target: "_blank", className: "light" }, "Open the whole picture");
  const controls = el("p", { className: "controls" }, whole);
  if (file) controls.append(button("Add it to the catalogue", () => add(file), { className: "light" }));
  if (picture) {
    controls.append(button("Edit", () => edit(picture), { className: "light" }));
    controls.append(button("Delete", () => remove(picture), { className: "light" }));
  }
  const name = [el("p", { className: "title" }, title), el("p", { className: "key" }, subtitle)];
  return el("div", { className: "words" }, ...name, factList(picture?.metadata ?? {}), controls);
}

/** @param {Record<string, unknown>} metadata */
function factList(metadata) {
  const rows = Object.entries(metadata).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, plain(value))),
  );
  return el("dl", {}, ...rows);
}

/** @param {Answer} answer */
function timing({ timings_ms: timings, catalogue_size: size }) {
  const stages = STAGES.filter((stage) => timings[stage] > 0);
  const bar = el(
    "div",
    { className: "stages", ariaHidden: "true" },
    ...stages.map((stage) => part(stage, timings)),
  );
  const legend = stages.map((stage) =>
    el("li", { className: stage }, `${stage} ${milliseconds(timings[stage])}`),
  );
  return el(
    "div",
    { className: "timing" },
    el("p", {}, el("strong", {}, `${milliseconds(timings.total)} ms`), ` over ${counted(size, "picture")}`),
    bar,
    el("ul", {}, ...legend),
  );
}

/**
 * @param {string} stage
 * @param {Record<string, number>} timings
 */
function part(stage, timings) {
  const segment = el("span", { className: stage });
  segment.style.flexGrow = String(timings[stage]);
  return segment;
}
