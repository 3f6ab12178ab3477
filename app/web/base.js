/** The address that the service is reached at, which a reverse proxy may have put below a path. */

/** Ends with a slash; `web/base.js` lies below it. */
export const BASE = new URL("..", import.meta.url);

/** The path of `BASE` for cookies: without its last slash, unless it is all there is. */
export const COOKIE_PATH = BASE.pathname.replace(/(.)\/$/, "$1");
