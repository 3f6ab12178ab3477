/** Panel to add pictures with a table of their metadata: one upload, then the progress of a job, then what was rejected. */

import { cancelJob, createJob, getJob } from "../api/jobs.js";
import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { formatPercent, pluralise } from "../common/format.js";
import { pathOf, tableArchive } from "./table-archive.js";

/** @import { Job, JobDetails } from "../api/jobs.js" */
/** @import { PickedFile } from "./files.js" */

const POLL_MS = 700;
const MAX_LISTED = 200;
const COUNTS = /** @type {const} */ ({
  created: "added",
  updated: "updated",
  unchanged: "already added",
  rejected: "rejected",
});

export class TablePanel {
  running = false;
  stop = new AbortController();
  /** @type {Job | null} */
  job = null;
  mainButton = button("", () => this.onMainButton(), { className: "primary" });
  closeButton = button("Cancel", () => this.close(), { className: "link" });
  progress = el("progress", { ariaLabel: "Progress", max: 1, value: 0, hidden: true });
  summary = el("p", { role: "status" });
  error = el("p", { className: "error", role: "alert" });
  list = el("ol", { className: "queue", tabIndex: 0, ariaLabel: "Not added", hidden: true });

  /**
   * @param {HTMLElement} root
   * @param {PickedFile[]} pictures
   * @param {PickedFile} table
   * @param {number} skipped number of files that are neither
   * @param {() => void} onChanged called after pictures were added or updated
   */
  constructor(root, pictures, table, skipped, onChanged) {
    this.root = root;
    this.pictures = pictures;
    this.table = table;
    this.onChanged = onChanged;
    const heading = el("h2", { id: "add-heading", tabIndex: -1 }, `Add ${pluralise(pictures.length, "picture")}`);
    const from = `Keys, labels and details come from the table ${pathOf(table)}.`;
    const left = skipped ? ` Skipped ${pluralise(skipped, "file")} that cannot be added.` : "";
    this.mainButton.textContent = `Add ${pluralise(pictures.length, "picture")}`;
    const controls = el("p", { className: "controls" }, this.mainButton, this.closeButton, this.summary);
    const hint = el("p", { className: "hint" }, from + left);
    root.replaceChildren(heading, hint, controls, this.error, this.progress, this.list);
    root.hidden = false;
    heading.focus();
  }

  onMainButton() {
    if (this.running) this.cancel();
    else this.run();
  }

  async run() {
    this.stop = new AbortController();
    this.error.textContent = "";
    this.setRunning(true);
    try {
      this.job ??= await this.upload();
      await this.follow(this.job.id);
    } catch (error) {
      this.summary.textContent = "";
      if (!this.stop.signal.aborted) this.error.textContent = messageOf(error);
    }
    this.setRunning(false);
  }

  upload() {
    const onProgress = (/** @type {number} */ sent) => {
      this.progress.value = sent;
      this.summary.textContent = `Uploading: ${formatPercent(sent)}`;
    };
    return createJob(tableArchive(this.pictures, this.table), onProgress, this.stop.signal);
  }

  /**
   * Show a job's progress until it ends. It continues if the page is closed.
   *
   * @param {number} id
   */
  async follow(id) {
    let job = await getJob(id);
    while (job.state === "running") {
      this.show(job);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      job = await getJob(id);
    }
    this.job = null;
    this.show(job);
    this.mainButton.hidden = job.state === "done";
    if (job.state === "failed") this.error.textContent = job.error ?? "The pictures could not be added.";
    if (job.created + job.updated) this.onChanged();
  }

  /** @param {JobDetails} job */
  show(job) {
    const { state, total, processed, rejected, rejections, warnings } = job;
    const counts = Object.entries(COUNTS).filter(([name]) => job[/** @type {keyof typeof COUNTS} */ (name)]);
    const texts = counts.map(([name, text]) => `${count(job[/** @type {keyof typeof COUNTS} */ (name)])} ${text}`);
    const running = state === "running" && total !== null ? [`${count(processed)} of ${count(total)}`] : [];
    const waits = state === "running" && job.error ? [job.error] : [];
    const cancelled = state === "cancelled" ? ["Stopped"] : [];
    this.summary.textContent = [...running, ...cancelled, ...texts, ...waits].join(", ") || "Reading the table…";
    this.progress.value = total ? processed / total : 0;
    const more = rejected - Math.min(rejections.length, MAX_LISTED);
    const rows = [
      ...rejections.slice(0, MAX_LISTED).map(({ name, reason }) => listItem("rejected", name, reason)),
      ...(more > 0 ? [listItem("rejected", `${count(more)} more`, "")] : []),
      ...warnings.slice(0, MAX_LISTED).map(({ name, warning }) => listItem("created", name, warning)),
    ];
    this.list.replaceChildren(...rows);
    this.list.hidden = !rows.length;
  }

  async cancel() {
    this.stop.abort();
    try {
      if (this.job) await cancelJob(this.job.id);
    } catch (error) {
      this.error.textContent = messageOf(error);
    }
  }

  /** @param {boolean} running */
  setRunning(running) {
    this.running = running;
    this.closeButton.hidden = running;
    this.progress.hidden = !running;
    this.mainButton.textContent = running ? "Stop" : "Try again";
    this.closeButton.textContent = "Close";
  }

  close() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }
}

/**
 * @param {string} status
 * @param {string} name
 * @param {string} reason
 */
function listItem(status, name, reason) {
  const item = el("li", {}, el("span", {}, name), el("span", { className: "item-status" }, reason));
  item.dataset.status = status;
  return item;
}

/** @param {number} number */
function count(number) {
  return number.toLocaleString("en");
}
