/** Parts of the operations page's cards: heading, figures, buttons, progress, times. */

import { openForm } from "../common/dialog.js";
import { button, byId, el } from "../common/dom.js";
import { UserError } from "../common/errors.js";
import { progressBar } from "../common/progress-bar.js";

/** @import { Act, Task } from "./operations.js" */

/** @typedef {{data: string, nodes: () => Node[]}} Card its data as JSON, and its content */

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];
const NAMES = { adapt: "Fitting codes", demo: "Adding the demo", report: "Measuring" };
const PLURAL = new Intl.PluralRules("en");
const SPANS = /** @type {const} */ ([
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
]);

/**
 * @param {unknown} data
 * @param {() => Node[]} nodes
 * @returns {Card}
 */
export function card(data, nodes) {
  const minute = Math.floor(Date.now() / 60_000); // of the times that it shows
  return { data: JSON.stringify([data, minute]), nodes };
}

/**
 * @param {string} id of the card
 * @param {string} text
 * @param {...Node} beside
 */
export function heading(id, text, ...beside) {
  return el("header", {}, el("h2", { id: `${id}-heading` }, text), ...beside);
}

/**
 * @param {[string, string | Node][]} pairs terms and values
 */
export function figures(pairs) {
  const items = pairs.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  return el("dl", { className: "figures" }, ...items);
}

/**
 * @param {string} text
 * @param {"good" | "bad" | "busy" | "plain"} kind
 */
export function badge(text, kind) {
  return el("span", { className: `badge ${kind}` }, text);
}

/** @param {unknown} error null for none */
export function showError(error) {
  if (error !== null && !(error instanceof UserError)) console.error(error);
  const text = error instanceof UserError ? error.message : "An unexpected error occurred. Reload the page.";
  byId("message").textContent = error === null ? "" : text;
}

/**
 * A button that sends a change, and shows an error at the top of the page.
 *
 * @param {string} text
 * @param {string} key identifies the button when the card is rendered again
 * @param {() => Promise<unknown>} send
 * @param {string} [className]
 */
export function actionButton(text, key, send, className = "secondary") {
  const onClick = async () => {
    showError(null);
    control.disabled = true;
    await send().catch(showError);
    control.disabled = false;
  };
  const control = button(text, onClick, { className });
  control.dataset.key = key;
  return control;
}

/**
 * A button that opens a dialog to confirm first.
 *
 * @param {string} text
 * @param {string} key
 * @param {string} question
 * @param {string} explanation
 * @param {() => Promise<unknown>} send
 * @param {string} [className]
 */
export function confirmButton(text, key, question, explanation, send, className = "secondary") {
  const confirm = async () => {
    await send();
  };
  const open = () => openForm(question, "", el("p", {}, explanation), text, confirm);
  const control = button(text, open, { className });
  control.dataset.key = key;
  return control;
}

/**
 * The last run of a task: its progress and a button to cancel it, or its result.
 *
 * @param {Task | undefined} task
 * @param {Act} act
 * @param {boolean} admin
 */
export function taskStatus(task, act, admin) {
  if (!task) return [];
  if (task.state !== "running") {
    const when = task.ended_at ? timeAgo(task.ended_at) : "";
    const text = [task.message, when && `${when.charAt(0).toUpperCase()}${when.slice(1)}.`].join(" ");
    return [el("p", { className: task.state === "failed" ? "error" : "hint" }, text)];
  }
  const name = `${task.kind === "reindex" ? `Moving to ${task.model}` : NAMES[task.kind]}: ${task.step ?? "starting"}`;
  const cancel = actionButton("Cancel", `cancel-${task.kind}`, () => act(`tasks/${task.kind}/cancel`), "link");
  return [progressBar(name, task.processed, task.total), ...(admin ? [cancel] : [])];
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  const unit = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  return `${(bytes / 1000 ** unit).toLocaleString("en", { maximumFractionDigits: unit ? 1 : 0 })} ${UNITS[unit]}`;
}

/** @param {number} share */
export function formatShare(share) {
  return `${(100 * share).toFixed(1)}%`;
}

/**
 * @param {string} time in ISO format
 * @returns {string} such as "3 hours ago"
 */
export function timeAgo(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  for (const [unit, length] of SPANS) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return `${count} ${unit}${PLURAL.select(count) === "one" ? "" : "s"} ago`;
  }
  return "just now";
}
