/** The panel in which pictures are added: how to label them, what became of each, and a way to stop. */

import { Adding } from "./adding.js";
import { button, counted, el } from "./dom.js";
import { labelControls } from "./labels.js";

/** @import { Fate, Item } from "./adding.js" */
/** @import { Given } from "./files.js" */

/** @type {Record<Fate, string>} */
const WORDS = {
  waiting: "waiting",
  sent: "sent …",
  failed: "not added",
  created: "added",
  updated: "updated",
  unchanged: "there already",
  rejected: "rejected",
};
const DONE = /** @type {const} */ (["created", "updated", "unchanged", "rejected"]);
const SUMMED_UP = /** @type {const} */ ([...DONE, "failed"]);

export class AddPanel {
  running = false;
  /** @type {Map<Item, HTMLElement>} */
  rows = new Map();
  heading = el("h2", { id: "adding-heading", tabIndex: -1 });
  go = button("", () => this.press(), { className: "main" });
  away = button("Cancel", () => this.close(), { className: "light" });
  bar = el("progress", { ariaLabel: "Pictures done" });
  summary = el("p", { role: "status" });
  trouble = el("p", { className: "trouble", role: "alert" });

  /**
   * @param {HTMLElement} root
   * @param {Given[]} pictures
   * @param {number} leftOut files that are no pictures
   * @param {() => void} onChanged when the catalogue is another
   */
  constructor(root, pictures, leftOut, onChanged) {
    this.root = root;
    this.onChanged = onChanged;
    this.adding = new Adding(pictures);
    this.labels = labelControls(pictures);
    this.heading.textContent = `Add ${counted(pictures.length, "picture")}`;
    Object.assign(this.bar, { max: pictures.length });
    this.draw(leftOut);
    this.tell(this.adding.items);
  }

  /** @param {number} leftOut */
  draw(leftOut) {
    const list = el("ol", { className: "queue", tabIndex: 0, ariaLabel: "Pictures to add" });
    for (const item of this.adding.items) {
      const row = el(
        "li",
        {},
        el("span", {}, item.path || item.file.name),
        el("span", { className: "fate" }),
      );
      this.rows.set(item, row);
      list.append(row);
    }
    const others = leftOut
      ? [el("p", { className: "hint" }, `${counted(leftOut, "other file")} are left out.`)]
      : [];
    const controls = el("p", { className: "controls" }, this.go, this.away, this.summary);
    this.root.replaceChildren(
      this.heading,
      ...others,
      this.labels.element,
      controls,
      this.trouble,
      this.bar,
      list,
    );
    this.root.hidden = false;
    this.heading.focus();
  }

  press() {
    if (this.running) this.adding.stop();
    else this.run();
  }

  async run() {
    this.setRunning(true);
    this.trouble.textContent = "";
    try {
      await this.adding.run(this.labels.read(), (items) => this.tell(items));
    } catch (error) {
      this.trouble.textContent = error instanceof Error ? error.message : String(error);
    }
    this.setRunning(false);
    if (this.adding.count("created") + this.adding.count("updated")) this.onChanged();
  }

  /** @param {boolean} running */
  setRunning(running) {
    this.running = running;
    this.away.hidden = running;
    for (const control of this.labels.element.querySelectorAll("input")) control.disabled = running;
    this.tell([]);
  }

  /**
   * Says what became of some pictures, and of all in numbers.
   *
   * @param {Item[]} items
   */
  tell(items) {
    for (const item of items) tellRow(/** @type {HTMLElement} */ (this.rows.get(item)), item);
    const { adding } = this;
    const left = adding.open.length;
    const begun = DONE.some((fate) => adding.count(fate));
    this.summary.textContent = SUMMED_UP.filter((fate) => adding.count(fate))
      .map((fate) => `${adding.count(fate)} ${WORDS[fate]}`)
      .join(", ");
    Object.assign(this.bar, {
      value: adding.items.length - left - adding.count("sent"),
      hidden: !begun && !this.running,
    });
    this.labels.element.hidden = !left && !this.running;
    this.go.hidden = !left && !this.running;
    this.go.textContent = this.running
      ? "Stop"
      : `Add ${begun ? `the other ${left}` : counted(left, "picture")}`;
    this.away.textContent = left ? "Cancel" : "Close";
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
function tellRow(row, { fate, reason }) {
  row.dataset.fate = fate;
  /** @type {HTMLElement} */ (row.lastElementChild).textContent = reason
    ? `${WORDS[fate]}: ${reason}`
    : WORDS[fate];
}
