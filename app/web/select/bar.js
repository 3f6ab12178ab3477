/** Bar at the bottom while pictures are selected: how many, and what can be done with them. */

import { button, el } from "../common/dom.js";
import { HttpError, messageOf } from "../common/errors.js";
import { isFiltered } from "../search/query.js";

/** @import { Matching, Selected } from "../api/bulk.js" */
/** @import { Action, Selectable, SelectionOptions } from "./attach.js" */
/** @import { Selection } from "./selection.js" */

const SELECTION_CHANGED = "selection_changed";

export class SelectionBar {
  count = el("strong", { role: "status" });
  all = button("", () => this.selection.selectAll(this.loaded()), { className: "link" });
  message = el("p", { className: "error", role: "alert" });
  actions = el("div", { className: "selection-actions" });
  /** @type {WeakMap<Action, HTMLElement>} */
  buttons = new WeakMap();
  /** @type {Selected} */
  selected = { ids: [], matching: null, count: 0 };
  /** Whether the focus is lost if the bar is hidden. */
  hadFocus = false;
  element = el("section", { className: "selection-bar", hidden: true, ariaLabel: "Selected pictures" });

  /**
   * @param {SelectionOptions} options
   * @param {Selection} selection
   * @param {() => number[]} loaded
   */
  constructor(options, selection, loaded) {
    this.options = options;
    this.selection = selection;
    this.loaded = loaded;
    const clear = button("×", () => selection.clear(), { className: "close", ariaLabel: "Clear the selection" });
    const controls = el("div", { className: "selection-controls" }, clear, this.count, this.all, this.actions);
    this.element.append(this.message, controls);
    document.body.append(this.element);
  }

  /**
   * @param {Selection} selection
   * @param {Selectable | null} selectable
   */
  show(selection, selectable) {
    const selected = toSelected(selection, selectable);
    const matching = selectable?.matching ?? null;
    const active = document.activeElement;
    this.hadFocus = active === document.body || this.element.contains(active);
    this.message.replaceChildren();
    this.element.hidden = selection.empty;
    this.count.textContent = selection.empty ? "" : `${selected.count.toLocaleString("en")} selected`;
    this.all.textContent = `Select all ${matching ? describe(matching) : ""}`;
    this.all.hidden = selection.all || !matching || matching.count <= selection.ids.size;
    const offered = (selectable?.actions ?? this.options.actions).filter((action) => action.offered?.(selected) ?? true);
    this.selected = selected;
    this.actions.replaceChildren(...offered.map((action) => this.buttonOf(action)));
  }

  /**
   * The same button each time: a dialog that it has opened returns the focus to it.
   *
   * @param {Action} action
   * @returns {HTMLElement}
   */
  buttonOf(action) {
    const { text, className = "", run, scope } = action;
    const known = this.buttons.get(action);
    if (known) return known;
    const element = button(text, () => this.run(run, this.selected), { className });
    if (scope) element.dataset.scope = scope;
    this.buttons.set(action, element);
    return element;
  }

  /**
   * @param {Action["run"]} run
   * @param {Selected} selected
   */
  async run(run, selected) {
    this.message.replaceChildren();
    try {
      await run(selected, this);
    } catch (error) {
      this.showError(error);
    }
  }

  clear() {
    this.selection.clear();
  }

  /** @param {unknown} error */
  showError(error) {
    const conflict = error instanceof HttpError && error.code === SELECTION_CHANGED;
    const again = button("Select again", () => this.options.selectAgain(), { className: "link" });
    this.message.replaceChildren(messageOf(error), ...(conflict ? [" ", again] : []));
  }
}

/** @param {Matching} matching */
function describe(matching) {
  return `${matching.count.toLocaleString("en")}${isFiltered(matching) ? " that match" : ""}`;
}

/**
 * @param {Selection} selection
 * @param {Selectable | null} selectable
 * @returns {Selected}
 */
function toSelected(selection, selectable) {
  const matching = (selection.all && selectable?.matching) || null;
  const ids = [...selection.ids];
  return { ids, matching, count: matching?.count ?? ids.length };
}
