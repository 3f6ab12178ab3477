/** Controls of the results: filters, captions, details (search mode, options, timing), and chips for what is active. */

import { afterPaint, byId, el } from "../common/dom.js";
import { toConditions, toFilterParams } from "../filters/conditions.js";
import { FilterPanel } from "../filters/filter-panel.js";
import { FilterPlace } from "../filters/filter-place.js";
import { showChips } from "./chips.js";
import { fieldPicker } from "./field-picker.js";
import { OptionsPanel } from "./options-panel.js";
import { toMode } from "./query.js";
import { pictureOf, showCaption } from "./tiles.js";
import { timing } from "./timing.js";

/** @import { SearchResponse } from "../api/client.js" */
/** @import { OnChange } from "./chips.js" */
/** @import { Query } from "./query.js" */
/** @import { View } from "./views.js" */

const MODE_HINTS = {
  hds: "Finds candidates by code, then ranks them by features.",
  bcs: "Ranks by code only. Less accurate.",
  es: "Ranks every picture by features. Slower in large catalogues.",
};

export class Toolbar {
  /** @type {Query | null} */
  query = null;
  /** @type {SearchResponse | null} */
  response = null;

  /** @param {OnChange} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.filters = new FilterPanel(byId("filters"), (conditions) => onChange(toFilterParams(conditions)));
    this.filterPlace = new FilterPlace(() => this.showFilters());
    this.options = new OptionsPanel(byId("options"), onChange);
    byId("modes").addEventListener("change", (event) => {
      onChange({ mode: toMode(/** @type {HTMLInputElement} */ (event.target).value) });
    });
    disclosure(byId("fields-button"), byId("fields"), showFieldPicker);
    disclosure(
      byId("details-button"),
      byId("details"),
      () => {
        this.showOptions();
        if (this.query) this.options.loadGroups(this.query);
      },
    );
  }

  /**
   * @param {Query} query
   * @param {View} view
   */
  show(query, { response, warnings, total }) {
    this.query = query;
    this.showMode(query);
    showChips(byId("chips"), query, response !== null, this.onChange);
    byId("warnings").replaceChildren(...warnings.map((warning) => el("p", {}, warning)));
    byId("timing").replaceChildren(...(response ? [timing(response)] : []));
    this.response = response;
    if (!byId("details").hidden) this.showOptions();
    this.filterPlace.showCount(total ?? null, Boolean(query.label || query.filter));
    if (this.filterPlace.visible) afterPaint(() => this.showFilters());
  }

  /** Show the options of the search. Only called while they are visible. */
  showOptions() {
    if (this.query && this.response) this.options.show(this.query, this.response);
  }

  /** Load and show the facet counts. Only called while they are visible, because counting reads every picture. */
  showFilters() {
    if (this.query) this.filters.show(toConditions(this.query), this.query.text);
  }

  /** @param {Query} query */
  showMode({ mode }) {
    /** @type {HTMLInputElement} */ (document.querySelector(`#modes [value=${mode}]`)).checked = true;
    byId("mode-hint").textContent = MODE_HINTS[mode];
  }
}

/** Show the picker with the fields of the pictures that are shown. */
function showFieldPicker() {
  const tiles = [...document.querySelectorAll("#pictures .tile")];
  const names = new Set(tiles.flatMap((tile) => Object.keys(pictureOf(tile)?.metadata ?? {})));
  const update = () => document.querySelectorAll("#pictures .tile").forEach(showCaption);
  byId("fields").replaceChildren(fieldPicker([...names], update));
}

/**
 * Make a button open and close a panel.
 *
 * @param {HTMLElement} opener
 * @param {HTMLElement} panel
 * @param {() => void} onOpen
 */
function disclosure(opener, panel, onOpen) {
  opener.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    opener.ariaExpanded = String(!panel.hidden);
    if (!panel.hidden) onOpen();
  });
}
