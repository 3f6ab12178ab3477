/** The service's base URL; behind a reverse proxy it may have a path. */

const url = import.meta.url;

/** Ends with a slash. This module is below `web/`, in a folder named by a hash. */
export const BASE = new URL(url.slice(0, url.lastIndexOf("/web/") + 1));

/** The path of `BASE` for cookies: without its trailing slash, except for `/`. */
export const COOKIE_PATH = BASE.pathname.replace(/(.)\/$/, "$1");
