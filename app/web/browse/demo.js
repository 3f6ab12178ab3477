/** Loads the demo into an empty catalogue: a task of the service, with its progress. */

import { cancelDemo, getDemo, startDemo } from "../api/tasks.js";
import { button, el } from "../common/dom.js";
import { messageOf } from "../common/errors.js";
import { progressBar } from "../common/progress-bar.js";

/** @import { Task } from "../api/tasks.js" */

/** Event on the document: the catalogue has other pictures than the view was made from. */
export const CATALOGUE_CHANGED = "catalogue-changed";
const POLL_MS = 1000;

/** The button, and where the progress or an error is shown. */
export function demoLoader() {
  const loader = new DemoLoader();
  loader.resume();
  return loader;
}

class DemoLoader {
  opener = button("Load the demo", () => this.run(startDemo), { className: "disclosure plain" });
  status = el("div");
  cancel = button("Cancel", () => this.stop(), { className: "link" });

  constructor() {
    this.opener.dataset.scope = this.cancel.dataset.scope = "admin";
  }

  /** Show the progress of a demo that is being loaded already. */
  async resume() {
    const task = await getDemo().catch(() => null); // the button is there without it
    if (task?.state === "running") await this.run(async () => task);
  }

  /**
   * Show the task's progress until it ends, then the pictures; or why there are none.
   *
   * @param {() => Promise<Task>} start
   */
  async run(start) {
    this.opener.disabled = true;
    try {
      /** @type {Task | null} */
      let task = await start();
      while (task?.state === "running") {
        this.show(task);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        if (!this.status.isConnected) return; // another view is shown
        task = await getDemo();
      }
      if (task?.state === "failed") this.fail(task.message ?? "");
      else document.dispatchEvent(new CustomEvent(CATALOGUE_CHANGED));
    } catch (error) {
      this.fail(messageOf(error));
    }
    this.opener.disabled = false;
  }

  /** @param {Task} task */
  show({ step, processed, total }) {
    const focused = document.activeElement === this.cancel;
    this.status.replaceChildren(progressBar(`Adding the demo: ${step ?? "starting"}`, processed, total), this.cancel);
    if (focused) this.cancel.focus();
  }

  async stop() {
    this.cancel.disabled = true;
    await cancelDemo().catch((error) => this.fail(messageOf(error)));
    this.cancel.disabled = false;
  }

  /** @param {string} reason */
  fail(reason) {
    this.status.replaceChildren(el("p", { className: "error", role: "alert" }, reason));
  }
}
