/**
 * Entry point of the operations page: reads the service's state, shows it in cards, and reads it again.
 *
 * A card is rendered again only if its data have changed, so that the focus and open details stay.
 */

import { fetchResponse } from "../api/fetch.js";
import { request, requestJson } from "../api/request.js";
import { closeSession, hasKey } from "../api/session.js";
import { byId } from "../common/dom.js";
import { HttpError } from "../common/errors.js";
import { healthCard } from "./health-card.js";
import { jobsCard } from "./jobs-card.js";
import { keysCard } from "./keys-card.js";
import { modelCard } from "./model-card.js";
import { showError } from "./parts.js";
import { qualityCard } from "./quality-card.js";

/** @typedef {"search" | "write" | "admin"} Scope */

/** @typedef {{key: string | null, key_required: boolean, scopes: Scope[]}} Session */

/**
 * @typedef {object} Task
 * @property {"adapt" | "demo" | "reindex" | "report"} kind
 * @property {"running" | "done" | "failed" | "cancelled"} state
 * @property {string | null} model
 * @property {string | null} step
 * @property {number} processed
 * @property {number | null} total
 * @property {string | null} message
 * @property {string | null} ended_at
 */

/**
 * @typedef {object} State what the page shows
 * @property {Session} session
 * @property {{ok: boolean, detail: string}} ready
 * @property {any} stats
 * @property {Task[]} tasks
 * @property {any[]} jobs
 * @property {any[]} models
 * @property {any[]} keys
 * @property {any} report null if there is none
 * @property {{count: number, more: boolean} | null} trash null if the service has none
 */

/**
 * @typedef {(path: string, init?: RequestInit, then?: (answer: any) => Promise<void>) => Promise<any>} Act
 * sends a change, then reads the state again
 */

const BUSY_MS = 1000;
const IDLE_MS = 15_000;
const MAX_TRASH = 100;
const CARDS = { health: healthCard, model: modelCard, quality: qualityCard, jobs: jobsCard, keys: keysCard };

class OperationsPage {
  timer = 0;
  turn = 0;
  /** @type {Map<string, string>} the data of each card as JSON */
  shown = new Map();
  failed = false;
  /** @type {State | null} while a task or a job is running */
  busy = null;

  start() {
    byId("other-key").addEventListener("click", () => this.changeKey());
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    this.refresh();
  }

  async changeKey() {
    await closeSession().catch(showError);
    this.busy = null;
    await this.refresh();
  }

  /** Read the state and show it; again after a while, unless the user has refused to enter a key. */
  async refresh() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    let denied = false;
    try {
      const state = await this.read();
      if (turn !== this.turn) return; // a later refresh shows newer data
      this.busy = isBusy(state) ? state : null;
      this.show(state);
      // A refused action stays on the page.
      if (this.failed) showError(null);
      this.failed = false;
    } catch (error) {
      this.failed = true;
      denied = error instanceof HttpError && [401, 403].includes(error.status);
      showError(error);
    }
    byId("other-key").hidden = !hasKey();
    const delay = this.busy ? BUSY_MS : IDLE_MS;
    if (!document.hidden && !denied) this.timer = window.setTimeout(() => this.refresh(), delay);
  }

  async read() {
    if (!this.busy) return readState();
    const state = await readProgress(this.busy);
    return isBusy(state) ? state : readState();
  }

  /** @param {State} state */
  show(state) {
    for (const [id, card] of Object.entries(CARDS)) {
      const content = card(state, (path, init, then) => this.act(path, init, then));
      const section = byId(id);
      section.hidden = content === null;
      if (content === null || this.shown.get(id) === content.data) continue;
      this.shown.set(id, content.data);
      replaceKeepingState(section, content.nodes());
    }
  }

  /** @type {Act} */
  async act(path, init = { method: "POST" }, then = async () => {}) {
    try {
      const response = await request(path, init);
      const answer = response.status === 204 ? null : await response.json();
      await then(answer);
      return answer;
    } finally {
      this.busy = null;
      await this.refresh();
    }
  }
}

/** @returns {Promise<State>} */
async function readState() {
  // First, because it asks for a key if one is needed.
  const stats = await requestJson("stats", {});
  const session = /** @type {Session} */ (await requestJson("session", {}));
  const admin = session.scopes.includes("admin");
  const [ready, tasks, jobs, models, keys, report, trash] = await Promise.all([
    readReady(),
    requestJson("tasks", {}),
    requestJson("jobs?limit=10", {}),
    admin ? requestJson("models", {}) : { items: [] },
    admin ? requestJson("keys", {}) : { items: [] },
    readIfThere("report/summary"),
    session.scopes.includes("write") ? readIfThere(`trash?limit=${MAX_TRASH}`) : null,
  ]);
  return {
    session,
    ready,
    stats,
    tasks: tasks.items,
    jobs: jobs.items,
    models: models.items,
    keys: keys.items,
    report,
    trash: trash && { count: trash.items.length, more: trash.next_cursor !== null },
  };
}

/**
 * Read only what changes while a task or a job is running.
 *
 * @param {State} state
 * @returns {Promise<State>}
 */
async function readProgress(state) {
  const [tasks, jobs] = await Promise.all([requestJson("tasks", {}), requestJson("jobs?limit=10", {})]);
  return { ...state, tasks: tasks.items, jobs: jobs.items };
}

/** @param {State} state */
function isBusy({ tasks, jobs }) {
  return [...tasks, ...jobs].some(({ state }) => state === "running");
}

async function readReady() {
  const response = await fetchResponse("readyz", {});
  const { detail = "" } = await response.json().catch(() => ({}));
  return { ok: response.ok, detail };
}

/** @param {string} path */
async function readIfThere(path) {
  const response = await fetchResponse(path, {});
  return response.ok ? response.json() : null;
}

/**
 * Replace a card's content. Controls with the same `data-key` keep the focus and their choice, details stay open.
 *
 * @param {HTMLElement} card
 * @param {Node[]} nodes
 */
function replaceKeepingState(card, nodes) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
  const before = new Map(keyed(card).map((one) => [one.dataset.key, one]));
  card.replaceChildren(...nodes);
  for (const one of keyed(card)) {
    const old = before.get(one.dataset.key);
    if (one instanceof HTMLDetailsElement && old instanceof HTMLDetailsElement) one.open = old.open;
    if (one instanceof HTMLSelectElement && old instanceof HTMLSelectElement) one.value = old.value;
    if (focused && one.dataset.key === focused) one.focus();
  }
}

/**
 * @param {HTMLElement} card
 * @returns {HTMLElement[]}
 */
function keyed(card) {
  return [...card.querySelectorAll("[data-key]")].map((one) => /** @type {HTMLElement} */ (one));
}

new OperationsPage().start();
