/** Panel to add pictures: label controls, progress, the status of each picture, and a stop button. */

import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { pluralise } from "../common/format.js";
import { labelControls } from "./label-controls.js";
import { UploadQueue } from "./upload-queue.js";

/** @import { PickedFile } from "./files.js" */
/** @import { Item, Status } from "./upload-queue.js" */

/** @type {Record<Status, string>} */
const STATUS_TEXTS = {
  waiting: "waiting",
  sent: "uploading…",
  failed: "not added",
  created: "added",
  updated: "updated",
  unchanged: "already added",
  rejected: "rejected",
};
const DONE = /** @type {const} */ (["created", "updated", "unchanged", "rejected"]);
const SUMMARISED = /** @type {const} */ ([...DONE, "failed"]);

export class AddPanel {
  running = false;
  /** @type {Map<Item, HTMLElement>} */
  rows = new Map();
  heading = el("h2", { id: "add-heading", tabIndex: -1 });
  mainButton = button("", () => this.onMainButton(), { className: "primary" });
  closeButton = button("Cancel", () => this.close(), { className: "link" });
  progress = el("progress", { ariaLabel: "Upload progress" });
  summary = el("p", { role: "status" });
  error = el("p", { className: "error", role: "alert" });

  /**
   * @param {HTMLElement} root
   * @param {PickedFile[]} pictures
   * @param {number} skipped number of files that are not pictures
   * @param {() => void} onChanged called after pictures were added or updated
   */
  constructor(root, pictures, skipped, onChanged) {
    this.root = root;
    this.onChanged = onChanged;
    this.queue = new UploadQueue(pictures);
    this.labels = labelControls(pictures);
    this.heading.textContent = `Add ${pluralise(pictures.length, "picture")}`;
    Object.assign(this.progress, { max: pictures.length });
    this.draw(skipped);
    this.update(this.queue.items);
  }

  /** @param {number} skipped */
  draw(skipped) {
    const list = el("ol", { className: "queue", tabIndex: 0, ariaLabel: "Pictures to add" });
    for (const item of this.queue.items) {
      const name = el("span", {}, item.path || item.file.name);
      const row = el("li", {}, name, el("span", { className: "item-status" }));
      this.rows.set(item, row);
      list.append(row);
    }
    const hint = skipped
      ? [el("p", { className: "hint" }, `Skipped ${pluralise(skipped, "file")} that cannot be added.`)]
      : [];
    const controls = el("p", { className: "controls" }, this.mainButton, this.closeButton, this.summary);
    this.root.replaceChildren(
      this.heading,
      ...hint,
      this.labels.element,
      controls,
      this.error,
      this.progress,
      list,
    );
    this.root.hidden = false;
    this.heading.focus();
  }

  onMainButton() {
    if (this.running) this.queue.stop();
    else this.run();
  }

  async run() {
    this.setRunning(true);
    this.error.textContent = "";
    try {
      await this.queue.run(this.labels.read(), (items) => this.update(items));
    } catch (error) {
      this.error.textContent = messageOf(error);
    }
    this.setRunning(false);
    if (this.queue.count("created") + this.queue.count("updated")) this.onChanged();
  }

  /** @param {boolean} running */
  setRunning(running) {
    this.running = running;
    this.closeButton.hidden = running;
    for (const control of this.labels.element.querySelectorAll("input")) control.disabled = running;
    this.update([]);
  }

  /**
   * Update the rows of the items, the summary, the progress bar and the buttons.
   *
   * @param {Item[]} items
   */
  update(items) {
    for (const item of items) showStatus(/** @type {HTMLElement} */ (this.rows.get(item)), item);
    const { queue } = this;
    const remaining = queue.remaining.length;
    const started = DONE.some((status) => queue.count(status));
    this.summary.textContent = SUMMARISED.filter((status) => queue.count(status))
      .map((status) => `${queue.count(status)} ${STATUS_TEXTS[status]}`)
      .join(", ");
    Object.assign(this.progress, {
      value: queue.items.length - remaining - queue.count("sent"),
      hidden: !started && !this.running,
    });
    this.labels.element.hidden = !remaining && !this.running;
    this.mainButton.hidden = !remaining && !this.running;
    this.mainButton.textContent = this.running
      ? "Stop"
      : `Add ${started ? `the remaining ${remaining}` : pluralise(remaining, "picture")}`;
    this.closeButton.textContent = remaining ? "Cancel" : "Close";
  }

  close() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }
}

/**
 * @param {HTMLElement} row
 * @param {Item} item
 */
function showStatus(row, { status, reason }) {
  row.dataset.status = status;
  /** @type {HTMLElement} */ (row.lastElementChild).textContent = reason
    ? `${STATUS_TEXTS[status]}: ${reason}`
    : STATUS_TEXTS[status];
}
