/**
 * Pictures on their way into the catalogue: a few at a time, each with what became of it.
 *
 * What is too much for the service at once, or too slow to arrive, is sent again in smaller parts. What is too much
 * alone is not added, and keeps nothing else from it.
 *
 * A stop lets the request under way finish, so that nobody is told that a picture was not added which was. Knows
 * nothing of the DOM.
 */

import { addPictures } from "./api.js";
import { Refusal } from "./errors.js";
import { folderOf } from "./files.js";

/** @import { Given } from "./files.js" */

/** @typedef {"waiting" | "sent" | "failed" | "created" | "updated" | "unchanged" | "rejected"} Fate */

/** @typedef {Given & {fate: Fate, reason: string}} Item */

/** @typedef {{fromFolders: boolean, label: string}} Labels */

const PICTURES_AT_A_TIME = 8;
// A service waits a minute for a request: so much passes a line of one megabit a second, and is worth a request.
const BYTES_AT_A_TIME = 6_000_000;
const BYTES_AROUND_EACH = 400; // what the request says of it
const TOO_SLOW = 408;
const TOO_LARGE = 413;

export class Adding {
  stopping = false;
  /** As far as this service and the way to it are known. */
  bytesAtATime = BYTES_AT_A_TIME;

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
    let { open } = this;
    while (open.length && !this.stopping) {
      const few = nextFew(open, this.bytesAtATime);
      const taken = await send(few, labels, onChange);
      if (taken || few.length === 1) open = open.slice(few.length);
      else this.bytesAtATime = size(few) / 2;
    }
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
 * @param {Item[]} open
 * @param {number} most bytes, where it is more than one
 * @returns {Item[]} at least one
 */
function nextFew(open, most) {
  let count = 1;
  while (count < PICTURES_AT_A_TIME && count < open.length && size(open.slice(0, count + 1)) <= most)
    count += 1;
  return open.slice(0, count);
}

/** @param {Item[]} items */
function size(items) {
  return items.reduce((bytes, { file }) => bytes + file.size + BYTES_AROUND_EACH, 0);
}

/**
 * @param {Item[]} items
 * @param {Labels} labels
 * @param {(items: Item[]) => void} onChange
 * @returns {Promise<boolean>} false where they were too much at once
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
    return true;
  } catch (error) {
    if (isTooMuch(error)) {
      tell(() => (items.length > 1 ? ["waiting", ""] : ["failed", error.message]));
      return false;
    }
    tell(() => ["failed", ""]);
    throw error;
  }
}

/**
 * @param {unknown} error
 * @returns {error is Refusal}
 */
function isTooMuch(error) {
  return error instanceof Refusal && [TOO_SLOW, TOO_LARGE].includes(error.status);
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
