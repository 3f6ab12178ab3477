/** Entry point of the training page: lists the runs, and follows those that are running by server-sent events. */

import { requestJson } from "../api/request.js";
import { BASE } from "../common/base-url.js";
import { byId, el } from "../common/dom.js";
import { badge, figures, heading, progressBar, showError, timeAgo } from "../operations/parts.js";
import { format, precisionChart } from "./chart.js";

/** @import { Epoch } from "./chart.js" */

/**
 * @typedef {object} Run
 * @property {string} name
 * @property {"running" | "stopped" | "done"} state
 * @property {string} updated_at
 * @property {number} epoch
 * @property {number} epochs
 * @property {number} step
 * @property {number} steps
 * @property {number | null} images_per_second
 * @property {number | null} seconds_left
 * @property {Epoch[]} history
 * @property {string[]} checkpoints
 */

const REFRESH_MS = 15_000;
const BADGES = /** @type {const} */ ({ running: "busy", stopped: "bad", done: "good" });
/** @type {Map<string, EventSource>} by the run's name */
const streams = new Map();
/** @type {Map<string, HTMLElement>} */
const cards = new Map();
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  try {
    const { folder, items } = await requestJson("training/runs", {});
    showError(null);
    show(folder, items);
  } catch (error) {
    showError(error);
  }
  clearTimeout(timer);
  if (!document.hidden) timer = window.setTimeout(refresh, REFRESH_MS);
}

/**
 * @param {string} folder
 * @param {Run[]} runs
 */
function show(folder, runs) {
  for (const run of runs) {
    render(run);
    if (run.state === "running") follow(run.name);
  }
  const shown = runs.map(({ name }) => /** @type {HTMLElement} */ (cards.get(name)));
  const none = el("p", {}, `There is no training run in ${folder}. Start one with `, el("code", {}, command(folder)));
  byId("runs").replaceChildren(...(shown.length ? shown : [none]));
}

/** @param {string} folder */
function command(folder) {
  return `lookalike train PICTURES --out ${folder}/mine`;
}

/** @param {string} name */
function follow(name) {
  if (streams.has(name)) return;
  const stream = new EventSource(new URL(`training/runs/${encodeURIComponent(name)}/events`, BASE));
  streams.set(name, stream);
  const close = () => {
    stream.close();
    streams.delete(name);
  };
  stream.addEventListener("message", ({ data }) => {
    const run = /** @type {Run} */ (JSON.parse(data));
    render(run);
    if (run.state !== "running") close();
  });
  // The list is read again soon, and follows the run if it still runs.
  stream.addEventListener("error", close);
}

/** @param {Run} run */
function render(run) {
  const card = cards.get(run.name) ?? el("section", { className: "card" });
  cards.set(run.name, card);
  card.setAttribute("aria-labelledby", `run-${run.name}-heading`);
  card.replaceChildren(
    heading(`run-${run.name}`, run.name, badge(run.state, BADGES[run.state])),
    ...progress(run),
    ...(run.history.length ? [precisionChart(run.history, run.epochs)] : []),
    figures(summary(run)),
  );
}

/** @param {Run} run */
function progress(run) {
  if (run.state === "done") return [];
  if (run.state === "stopped") return [el("p", { className: "hint" }, "Run the same command again to continue it.")];
  const done = run.epoch ? (run.epoch - 1) * run.steps + run.step : run.step;
  const total = run.epoch ? run.epochs * run.steps : run.steps;
  const left = run.seconds_left === null ? "" : `, ${duration(run.seconds_left)} left`;
  return [progressBar(run.epoch ? `Epoch ${run.epoch} of ${run.epochs}${left}` : `Head${left}`, done, total)];
}

/**
 * @param {Run} run
 * @returns {[string, string | Node][]}
 */
function summary({ history, checkpoints, images_per_second: speed, updated_at: updated }) {
  const best = history.reduce((one, other) => ((other.hds ?? 0) >= (one?.hds ?? 0) ? other : one), history[0]);
  return [
    ...(best ? [/** @type {[string, string]} */ (["Best precision@10", `${format(best.hds)}, ${name(best.epoch)}`])] : []),
    ...(best ? [/** @type {[string, string]} */ (["Its accuracy", format(best.accuracy)])] : []),
    ...(speed === null ? [] : [/** @type {[string, string]} */ (["Images per second", speed.toFixed(0)])]),
    ["Usable models", checkpoints.join(", ") || "none yet"],
    ["Last change", timeAgo(updated)],
  ];
}

/** @param {number} epoch */
function name(epoch) {
  return epoch ? `epoch ${epoch}` : "head";
}

/** @param {number} seconds */
function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? `${Math.round(seconds)} s` : minutes < 120 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

document.addEventListener("visibilitychange", () => !document.hidden && refresh());
refresh();
