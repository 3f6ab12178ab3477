/**
 * What stands around the tiles: the picture searched with, the time it took, the trail, the words for an
 * empty catalogue.
 */

import { counted, el, image, milliseconds, plain } from "./dom.js";

/** @import { Answer } from "./api.js" */
/** @import { Step, UrlOf } from "./route.js" */

/**
 * What was searched with.
 *
 * @typedef {object} Query
 * @property {string} title
 * @property {string} subtitle
 * @property {string} thumbnail
 * @property {string} original
 * @property {Record<string, unknown>} metadata
 */

const STAGES = ["decode", "encode", "coarse", "fine", "catalogue"];

/**
 * @param {Query} query
 * @param {Answer} answer
 */
export function queryPanel(query, answer) {
  const original = el("a", { href: query.original, target: "_blank", title: "Open the whole picture" });
  original.append(image(query.thumbnail, `The picture searched with: ${query.title}`));
  const words = el(
    "div",
    { className: "words" },
    el("p", { className: "title" }, query.title),
    el("p", { className: "key" }, query.subtitle),
    factList(query.metadata),
  );
  return [original, words, timing(answer)];
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

/**
 * @param {Step[]} steps
 * @param {UrlOf} urlOf
 */
export function trailLinks(steps, urlOf) {
  const links = steps.map((step) => {
    return el("a", { href: urlOf(step), title: step.title }, image(step.thumbnail, `Back to ${step.title}`));
  });
  return [el("a", { href: "/" }, "Start"), ...links];
}

/** How to fill an empty catalogue. */
export function emptyCatalogue() {
  const command = `curl -F images=@boots.jpg -F 'metadata=[{"label": "boots"}]' ${location.origin}/index`;
  return el(
    "div",
    { className: "empty" },
    el("p", {}, "Put the first picture in with one command:"),
    el("pre", {}, el("code", {}, command)),
    el(
      "p",
      {},
      "More ways, many pictures at once among them, are in the ",
      el("a", { href: "/docs" }, "API docs"),
      ".",
    ),
  );
}
