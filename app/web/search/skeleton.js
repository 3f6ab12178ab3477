/** Empty tiles that stand for results while a search is running. */

import { byId, el } from "../common/dom.js";

const COUNT = 12;
const DELAY_MS = 150;

/** @type {number | undefined} */
let timer;

/** Show the tiles unless the results arrive at once; the results before them stay in the document, hidden. */
export function showSkeleton() {
  hideSkeleton();
  const root = byId("skeleton");
  if (!root.childElementCount)
    root.append(
      ...Array.from({ length: COUNT }, () =>
        el("div", {}, el("span", { className: "frame" }), el("span", { className: "title" }), el("span", { className: "below" })),
      ),
    );
  timer = window.setTimeout(() => {
    document.body.classList.add("loading");
    scrollTo(0, 0);
  }, DELAY_MS);
}

export function hideSkeleton() {
  window.clearTimeout(timer);
  document.body.classList.remove("loading");
}
