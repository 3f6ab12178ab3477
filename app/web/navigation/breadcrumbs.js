/** Breadcrumb links: thumbnails of the searches that led to the current one. */

import { el, image } from "../common/dom.js";

/** @import { Crumb, UrlOf } from "./route.js" */

/**
 * @param {Crumb[]} crumbs
 * @param {UrlOf} urlOf
 * @param {string} startUrl
 */
export function breadcrumbLinks(crumbs, urlOf, startUrl) {
  const links = crumbs.map((crumb) => {
    return el(
      "a",
      { href: urlOf(crumb), title: crumb.title },
      image(crumb.thumbnail, `Back to ${crumb.title}`),
    );
  });
  return [el("a", { href: startUrl }, "Start"), ...links];
}
