/** Place of the filters: a column beside the results on wide screens, a sheet on narrow ones. */

import { byId } from "../common/dom.js";

export const WIDE = matchMedia("(min-width: 1024px)");

export class FilterPlace {
  sheet = /** @type {HTMLDialogElement} */ (byId("filter-sheet"));
  filters = byId("filters");
  opener = byId("filter-button");

  /** @param {() => void} onVisible */
  constructor(onVisible) {
    this.onVisible = onVisible;
    this.opener.addEventListener("click", () => {
      this.sheet.showModal();
      onVisible();
    });
    byId("show-results").addEventListener("click", () => this.sheet.close());
    this.sheet.addEventListener("click", (event) => {
      if (event.target === this.sheet) this.sheet.close(); // a click on the backdrop
    });
    WIDE.addEventListener("change", () => this.move());
    this.move();
  }

  get visible() {
    return WIDE.matches || this.sheet.open;
  }

  move() {
    if (WIDE.matches) this.sheet.close();
    const place = WIDE.matches ? byId("filter-column") : this.sheet.querySelector(".sheet-content");
    place?.append(this.filters);
    if (WIDE.matches) this.onVisible();
  }

  /**
   * @param {number | null} count of the results; null if it is not known
   * @param {boolean} filtered whether a filter is active
   */
  showCount(count, filtered) {
    const results = count === 1 ? "result" : "results";
    byId("show-results").textContent =
      count === null ? "Show results" : `Show ${count.toLocaleString("en")} ${results}`;
    this.opener.classList.toggle("active", filtered);
  }
}
