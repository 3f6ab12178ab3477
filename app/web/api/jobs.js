/** Client for jobs, which add archives of pictures in the background. Independent of the page. */

import { requestJson } from "./request.js";

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {"running" | "done" | "failed" | "cancelled"} state
 * @property {number | null} total null until the entries are counted
 * @property {number} processed
 * @property {number} created
 * @property {number} updated
 * @property {number} unchanged
 * @property {number} rejected
 * @property {string} [error] why it failed, or what it waits for
 * @property {Record<string, {count: number, names: string[]}>} left_out by reason
 */

/** @typedef {Job & {rejections: {name: string, reason: string}[], warnings: {name: string, warning: string}[]}} JobDetails */

/**
 * @param {Blob} archive
 * @param {(sent: number) => void} onProgress gets the share that is sent, 0 to 1
 * @param {AbortSignal} signal
 * @returns {Promise<Job>}
 */
export function createJob(archive, onProgress, signal) {
  const headers = { "Content-Type": "application/x-tar", Accept: "application/json" };
  return requestJson("jobs", { method: "POST", body: archive, headers, onProgress, signal });
}

/**
 * @param {number} id
 * @returns {Promise<JobDetails>}
 */
export function getJob(id) {
  return requestJson(`jobs/${id}`, {});
}

/**
 * @param {number} id
 * @returns {Promise<Job>}
 */
export function cancelJob(id) {
  return requestJson(`jobs/${id}/cancel`, { method: "POST" });
}
