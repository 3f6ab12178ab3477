/** The service's base URL; behind a reverse proxy it may have a path. */

/** Ends with a slash. This module is `web/common/base-url.js` below it. */
export const BASE = new URL("../..", import.meta.url);

/** The path of `BASE` for cookies: without its trailing slash, except for `/`. */
export const COOKIE_PATH = BASE.pathname.replace(/(.)\/$/, "$1");
