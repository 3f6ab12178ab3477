/** Client for the maintenance task that loads the demo. */

import { request, requestJson } from "./request.js";

/**
 * @typedef {object} Task
 * @property {string} kind
 * @property {"running" | "done" | "failed" | "cancelled"} state
 * @property {string | null} step
 * @property {number} processed
 * @property {number | null} total
 * @property {string | null} message
 */

/**
 * Start to add the demo; refused if the catalogue or its trash has pictures.
 *
 * @returns {Promise<Task>}
 */
export function startDemo() {
  return requestJson("tasks/demo", { method: "POST" });
}

/** @returns {Promise<Task | null>} the last run; null if there was none */
export async function getDemo() {
  const { items } = await requestJson("tasks", {});
  return items.find((/** @type {Task} */ { kind }) => kind === "demo") ?? null;
}

/** Cancel the task; pictures that it has added stay. */
export function cancelDemo() {
  return request("tasks/demo/cancel", { method: "POST" });
}
