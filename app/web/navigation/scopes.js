/** What the browser's API key allows: controls that need more are hidden. */

import { keyScopes } from "../api/session.js";

const WRITE = "write";

export class Scopes {
  /** @type {string[] | null} null if everything may be offered */
  scopes = null;

  /** Whether pictures may be added, edited and deleted. */
  get mayWrite() {
    return this.scopes === null || this.scopes.includes(WRITE);
  }

  /** Load the scopes of the present key, and show or hide the controls with `data-scope`. */
  async load() {
    this.scopes = await keyScopes();
    for (const control of document.querySelectorAll(`[data-scope=${WRITE}]`))
      /** @type {HTMLElement} */ (control).hidden = !this.mayWrite;
  }
}
