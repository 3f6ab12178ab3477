/**
 * Entry point of the operations page: reads the service's state, shows it in cards, and reads it again.
 *
 * A card is rendered again only if its data have changed, so that the focus and open details stay.
 */

import { request, requestJson } from "../api/request.js";
import { closeSession, hasKey } from "../api/session.js";
import { fetchResponse } from "../api/fetch.js";
import { byId } from "../common/dom.js";
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
 * @property {"adapt" | "reindex" | "report"} kind
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

const BUSY_MS = 1500;
const IDLE_MS = 15_000;
const CARDS = { health: healthCard, model: modelCard, quality: qualityCard, jobs: jobsCard, keys: keysCard };

class OperationsPage {
  timer = 0;
  /** @type {Map<string, string>} the data of each card as JSON */
  shown = new Map();
  failed = false;

  start() {
    byId("other-key").addEventListener("click", () => this.changeKey());
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    this.refresh();
  }

  async changeKey() {
    await closeSession().catch(showError);
    await this.refresh();
  }

  /** Read the state and show it; again after a while. */
  async refresh() {
    clearTimeout(this.timer);
    let busy = false;
    try {
      const state = await readState();
      this.show(state);
      // A refused action stays on the page.
      if (this.failed) showError(null);
      this.failed = false;
      busy = [...state.tasks, ...state.jobs].some(({ state: one }) => one === "running");
    } catch (error) {
      this.failed = true;
      showError(error);
    }
    byId("other-key").hidden = !hasKey();
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = window.setTimeout(() => this.refresh(), busy ? BUSY_MS : IDLE_MS);
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
    readIfThere("trash?limit=1000"),
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
 * Replace a card's content. Controls with the same `data-key` keep the focus, details stay open, forms are kept.
 *
 * @param {HTMLElement} card
 * @param {Node[]} nodes
 */
function replaceKeepingState(card, nodes) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
  const open = [...card.querySelectorAll("details[open]")].map((one) => /** @type {HTMLElement} */ (one).dataset.key);
  card.replaceChildren(...nodes);
  for (const one of card.querySelectorAll("[data-key]")) {
    const element = /** @type {HTMLElement} */ (one);
    if (element instanceof HTMLDetailsElement && open.includes(element.dataset.key)) element.open = true;
    if (focused && element.dataset.key === focused) element.focus();
  }
}

new OperationsPage().start();
