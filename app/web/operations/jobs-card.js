/** Card: the latest jobs, which add archives: progress, rejected entries with the reasons, cancel. */

import { requestJson } from "../api/request.js";
import { el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { pluralise } from "../common/format.js";
import { progressBar } from "../common/progress-bar.js";
import { actionButton, badge, card, formatBytes, heading, timeAgo } from "./parts.js";

/** @import { Act, State } from "./operations.js" */

const BADGES = /** @type {const} */ ({
  running: ["Running", "busy"],
  done: ["Done", "good"],
  failed: ["Failed", "bad"],
  cancelled: ["Cancelled", "plain"],
});
const COUNTS = /** @type {const} */ (["created", "updated", "unchanged", "skipped", "rejected"]);
const SHOWN_REJECTIONS = 20;

/**
 * @param {State} state
 * @param {Act} act
 */
export function jobsCard({ session, jobs }, act) {
  const write = session.scopes.includes("write");
  return card([write, jobs], () => {
    const none = el("p", { className: "hint" }, "No archive has been added yet. POST /jobs adds one in the background.");
    const items = jobs.map((job) => jobItem(job, act, write));
    return [heading("jobs", "Jobs"), jobs.length ? el("ul", { className: "jobs" }, ...items) : none];
  });
}

/**
 * @param {any} job
 * @param {Act} act
 * @param {boolean} write
 */
function jobItem(job, act, write) {
  const { id, state, total, processed, error, rejected, size_bytes: size, created_at: created } = job;
  const [text, kind] = BADGES[/** @type {keyof typeof BADGES} */ (state)];
  const counts = COUNTS.filter((name) => job[name]).map((name) => `${job[name].toLocaleString("en")} ${name}`);
  const cancel = () => act(`jobs/${id}/cancel`);
  return el(
    "li",
    {},
    el("div", { className: "row" }, el("strong", {}, `Job ${id}`), badge(text, kind), el("span", { className: "hint" }, timeAgo(created))),
    ...(state === "running" ? [progressBar(total ? "adding" : "reading", processed, total)] : []),
    el("span", { className: "hint" }, counts.join(", ") || formatBytes(size)),
    ...(error ? [el("p", { className: "error" }, error)] : []),
    ...(rejected ? [rejections(id, rejected)] : []),
    ...(state === "running" && write ? [actionButton("Cancel", `job-${id}`, cancel, "link")] : []),
  );
}

/**
 * The rejected entries of a job, read when they are opened.
 *
 * @param {number} id
 * @param {number} count
 */
function rejections(id, count) {
  const list = el("ul", { className: "rejections" });
  const details = el("details", {}, el("summary", {}, `Why ${pluralise(count, "entry").replace("entrys", "entries")} failed`), list);
  details.dataset.key = `rejections-${id}`;
  details.addEventListener("toggle", async () => {
    if (!details.open || list.children.length) return;
    try {
      const job = await requestJson(`jobs/${id}`, {});
      const shown = job.rejections.slice(0, SHOWN_REJECTIONS);
      const lines = shown.map((/** @type {any} */ { name, reason }) => el("li", {}, el("strong", {}, name), ` ${reason}`));
      const more = count - shown.length;
      list.replaceChildren(...lines, ...(more > 0 ? [el("li", {}, `and ${more.toLocaleString("en")} more`)] : []));
    } catch (reason) {
      list.replaceChildren(el("li", { className: "error" }, messageOf(reason)));
    }
  });
  return details;
}
