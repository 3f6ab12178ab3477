/**
 * Pictures on their way into the catalogue: a few at a time, each with what became of it.
 *
 * A stop lets the request under way finish, so that nobody is told that a picture was not added which was. Knows
 * nothing of the DOM.
 */

import { addPictures } from "./api.js";
import { folderOf } from "./files.js";

/** @import { Given } from "./files.js" */

/** @typedef {"waiting" | "sent" | "failed" | "created" | "updated" | "unchanged" | "rejected"} Fate */

/** @typedef {Given & {fate: Fate, reason: string}} Item */

/** @typedef {{fromFolders: boolean, label: string}} Labels */

const PICTURES_AT_A_TIME = 8;
const BYTES_AT_A_TIME = 50_000_000;

export class Adding {
  stopping = false;

  /** @param {Given[]} pictures */
  constructor(pictures) {
    /** @type {Item[]} */
    this.items = pictures.map((given) => ({ ...given, fate: "waiting", reason: "" }));
  }

  /** @returns {Item[]} */
  get open() {
    return this.items.filter(({ fate }) => fate === "waiting" || fate === "failed");
  }

  /**
   * Sends what is not done yet, until all is, somebody stops it, or the service cannot be asked.
   *
   * @param {Labels} labels
   * @param {(items: Item[]) => void} onChange
   */
  async run(labels, onChange) {
    this.stopping = false;
    const open = this.open;
    while (open.length && !this.stopping) await send(nextFew(open), labels, onChange);
  }

  stop() {
    this.stopping = true;
  }

  /** @param {Fate} fate */
  count(fate) {
    return this.items.filter((item) => item.fate === fate).length;
  }
}

/**
 * @param {Item[]} open those that are taken are taken out
 * @returns {Item[]} at least one
 */
function nextFew(open) {
  let [count, bytes] = [0, 0];
  while (count < Math.min(open.length, PICTURES_AT_A_TIME)) {
    bytes += open[count].file.size;
    if (count && bytes > BYTES_AT_A_TIME) break;
    count += 1;
  }
  return open.splice(0, count);
}

/**
 * @param {Item[]} items
 * @param {Labels} labels
 * @param {(items: Item[]) => void} onChange
 */
async function send(items, labels, onChange) {
  /** @param {(item: Item, place: number) => [Fate, string]} fateOf */
  const tell = (fateOf) => {
    items.forEach((item, place) => ([item.fate, item.reason] = fateOf(item, place)));
    onChange(items);
  };
  tell(() => ["sent", ""]);
  try {
    const added = await addPictures(items.map((item) => ({ file: item.file, about: about(item, labels) })));
    tell((_, place) => [added[place].status, added[place].error ?? ""]);
  } catch (error) {
    tell(() => ["failed", ""]);
    throw error;
  }
}

/**
 * What is said of a picture: its path is its key, so that the same folder again is an update. A lone file's name
 * may be another picture's too, so it is no key.
 *
 * @param {Given} given
 * @param {Labels} labels
 */
function about(given, { fromFolders, label }) {
  const chosen = (fromFolders && folderOf(given)) || label;
  const named = given.path ? { key: given.path } : { file: given.file.name };
  return chosen ? { ...named, label: chosen } : named;
}
