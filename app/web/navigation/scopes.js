/** What the browser's API key allows: controls that need more are hidden. */

import { keyScopes } from "../api/session.js";

const WRITE = "write";
const ADMIN = "admin";

export class Scopes {
  /** @type {string[] | null} null if everything may be offered */
  scopes = null;

  /** Whether pictures may be added, edited and deleted. */
  get mayWrite() {
    return this.scopes === null || this.scopes.includes(WRITE);
  }

  /** Whether maintenance tasks may be started. */
  get isAdmin() {
    return this.scopes === null || this.scopes.includes(ADMIN);
  }

  /** Load the scopes of the present key, and hide controls with `data-scope` that need more. */
  async load() {
    this.scopes = await keyScopes();
    document.body.classList.toggle("read-only", !this.mayWrite);
    document.body.classList.toggle("no-admin", !this.isAdmin);
  }
}
