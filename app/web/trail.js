/** The way back: small pictures of the searches that led to this one. */

import { el, image } from "./dom.js";

/** @import { Step, UrlOf } from "./route.js" */

/**
 * @param {Step[]} steps
 * @param {UrlOf} urlOf
 * @param {string} start the address of the start
 */
export function trailLinks(steps, urlOf, start) {
  const links = steps.map((step) => {
    return el("a", { href: urlOf(step), title: step.title }, image(step.thumbnail, `Back to ${step.title}`));
  });
  return [el("a", { href: start }, "Start"), ...links];
}
