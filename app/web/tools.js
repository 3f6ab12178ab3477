/** The row above the pictures: mode, filters, ways to search, and the chips of what is in force. */

import { toMode } from "./asked.js";
import { showChips } from "./chips.js";
import { byId, el } from "./dom.js";
import { FilterPanel } from "./filterpanel.js";
import { toConditions, toNarrowing } from "./filters.js";
import { WaysPanel } from "./wayspanel.js";

/** @import { Asked } from "./asked.js" */
/** @import { OnChange } from "./chips.js" */
/** @import { View } from "./views.js" */

const MODE_HINTS = {
  hds: "Short codes find the candidates, features put them in order.",
  bcs: "Only the short codes are compared.",
  es: "Features are compared with every picture.",
};

export class Tools {
  /** @type {Asked | null} */
  asked = null;

  /** @param {OnChange} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.filters = new FilterPanel(byId("filters"), (conditions) => onChange(toNarrowing(conditions)));
    this.ways = new WaysPanel(byId("ways"), onChange);
    byId("modes").addEventListener("change", (event) => {
      onChange({ mode: toMode(/** @type {HTMLInputElement} */ (event.target).value) });
    });
    fold(byId("filter-button"), byId("filters"), () => this.count());
    fold(byId("ways-button"), byId("ways"), () => this.asked && this.ways.open(this.asked));
  }

  /**
   * @param {Asked} asked
   * @param {View} view
   */
  show(asked, { answer, warnings }) {
    this.asked = asked;
    this.showMode(asked);
    showChips(byId("chips"), asked, answer !== null, this.onChange);
    byId("warnings").replaceChildren(...warnings.map((warning) => el("p", {}, warning)));
    if (answer) this.ways.show(asked, answer);
    if (!byId("filters").hidden) this.count();
  }

  /** Counts what can be filtered by, which is a look at every picture: only where somebody sees it. */
  count() {
    if (this.asked) this.filters.show(toConditions(this.asked));
  }

  /** @param {Asked} asked */
  showMode({ mode }) {
    /** @type {HTMLInputElement} */ (document.querySelector(`#modes [value=${mode}]`)).checked = true;
    byId("mode-hint").textContent = MODE_HINTS[mode];
  }
}

/**
 * @param {HTMLElement} opener
 * @param {HTMLElement} panel
 * @param {() => void} onOpen
 */
function fold(opener, panel, onOpen) {
  opener.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    opener.ariaExpanded = String(!panel.hidden);
    if (!panel.hidden) onOpen();
  });
}
