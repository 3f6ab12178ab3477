/** Which pictures are selected: ids, or all that match the view's filters. Independent of the DOM. */

export class Selection {
  /** @type {Set<number>} */
  ids = new Set();
  /** Whether all matching pictures are selected, also those that are not loaded. */
  all = false;
  /** @type {number | null} where ranges begin */
  anchor = null;
  /** @type {Set<number>} what was selected when the anchor was set */
  #before = new Set();

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /** @param {number} id */
  has(id) {
    return this.all || this.ids.has(id);
  }

  get empty() {
    return !this.all && !this.ids.size;
  }

  /**
   * Select a picture, or deselect it if it is selected.
   *
   * @param {number} id
   */
  toggle(id) {
    const ids = new Set(this.ids);
    if (!ids.delete(id)) ids.add(id);
    this.set(ids);
    this.anchor = id;
  }

  /**
   * Select the range from the anchor to a picture, in addition to what was selected before.
   *
   * @param {number} id
   * @param {number[]} order
   */
  extendTo(id, order) {
    const ends = [order.indexOf(this.anchor ?? id), order.indexOf(id)].sort((a, b) => a - b);
    if (ends[0] < 0) return this.toggle(id);
    this.anchor ??= id;
    const before = this.#before;
    this.set(new Set([...before, ...order.slice(ends[0], ends[1] + 1)]));
    this.#before = before;
  }

  /** @param {Set<number>} ids */
  set(ids) {
    this.all = false;
    this.ids = ids;
    this.#before = ids;
    this.onChange();
  }

  /** @param {number[]} loaded the ids of the pictures that are loaded */
  selectAll(loaded) {
    this.ids = new Set(loaded);
    this.all = true;
    this.onChange();
  }

  clear() {
    if (!this.empty) this.set(new Set());
    this.anchor = null;
  }
}
