/**
 * Upload pictures in small batches and track the status of each. Independent of the DOM.
 *
 * A batch that is too large, or too slow to arrive, is sent again in smaller batches. A single picture that is too
 * large fails without affecting the others. Stopping lets the current request finish, so that every status is correct.
 */

import { addPictures } from "../api/client.js";
import { HttpError } from "../common/errors.js";
import { folderOf } from "./files.js";

/** @import { PickedFile } from "./files.js" */

/** @typedef {"waiting" | "sent" | "failed" | "created" | "updated" | "unchanged" | "rejected"} Status */

/** @typedef {PickedFile & {status: Status, reason: string}} Item */

/** @typedef {{fromFolders: boolean, label: string}} LabelChoice */

const MAX_BATCH_PICTURES = 8;
// The service reads a request for up to a minute; at 1 Mbit/s this many bytes arrive in time.
const MAX_BATCH_BYTES = 6_000_000;
const OVERHEAD_BYTES = 400; // headers and metadata of one picture in the request
const REQUEST_TIMEOUT = 408;
const CONTENT_TOO_LARGE = 413;

export class UploadQueue {
  stopping = false;
  /** Reduced after a batch was too large or too slow. */
  maxBatchBytes = MAX_BATCH_BYTES;

  /** @param {PickedFile[]} pictures */
  constructor(pictures) {
    /** @type {Item[]} */
    this.items = pictures.map((picked) => ({ ...picked, status: "waiting", reason: "" }));
  }

  /** @returns {Item[]} */
  get remaining() {
    return this.items.filter(({ status }) => status === "waiting" || status === "failed");
  }

  /**
   * Send the remaining items until all are sent, `stop` is called, or a request fails for a reason other than size.
   *
   * @param {LabelChoice} labels
   * @param {(items: Item[]) => void} onChange
   */
  async run(labels, onChange) {
    this.stopping = false;
    let { remaining } = this;
    while (remaining.length && !this.stopping) {
      const batch = nextBatch(remaining, this.maxBatchBytes);
      const sent = await send(batch, labels, onChange);
      if (sent || batch.length === 1) remaining = remaining.slice(batch.length);
      else this.maxBatchBytes = sizeOf(batch) / 2;
    }
  }

  stop() {
    this.stopping = true;
  }

  /** @param {Status} status */
  count(status) {
    return this.items.filter((item) => item.status === status).length;
  }
}

/**
 * @param {Item[]} remaining
 * @param {number} maxBytes exceeded only by a single item
 * @returns {Item[]} at least one
 */
function nextBatch(remaining, maxBytes) {
  let count = 1;
  while (
    count < MAX_BATCH_PICTURES &&
    count < remaining.length &&
    sizeOf(remaining.slice(0, count + 1)) <= maxBytes
  )
    count += 1;
  return remaining.slice(0, count);
}

/** @param {Item[]} items */
function sizeOf(items) {
  return items.reduce((bytes, { file }) => bytes + file.size + OVERHEAD_BYTES, 0);
}

/**
 * @param {Item[]} batch
 * @param {LabelChoice} labels
 * @param {(items: Item[]) => void} onChange
 * @returns {Promise<boolean>} false if the batch was too large or too slow
 */
async function send(batch, labels, onChange) {
  /** @param {(item: Item, index: number) => [Status, string]} statusOf */
  const update = (statusOf) => {
    batch.forEach((item, index) => ([item.status, item.reason] = statusOf(item, index)));
    onChange(batch);
  };
  update(() => ["sent", ""]);
  try {
    const results = await addPictures(
      batch.map((item) => ({ file: item.file, metadata: metadataOf(item, labels) })),
    );
    update((_, index) => [results[index].status, results[index].error ?? results[index].warnings[0] ?? ""]);
    return true;
  } catch (error) {
    if (isTooLarge(error)) {
      update(() => (batch.length > 1 ? ["waiting", ""] : ["failed", error.message]));
      return false;
    }
    update(() => ["failed", ""]);
    throw error;
  }
}

/**
 * @param {unknown} error
 * @returns {error is HttpError}
 */
function isTooLarge(error) {
  return error instanceof HttpError && [REQUEST_TIMEOUT, CONTENT_TOO_LARGE].includes(error.status);
}

/**
 * Return a picture's metadata for `POST /index`.
 *
 * A path within a folder becomes the key, so that adding the folder again updates its pictures. A file name alone is
 * not unique, so it is stored as the field `file`.
 *
 * @param {PickedFile} picked
 * @param {LabelChoice} labels
 */
function metadataOf(picked, { fromFolders, label }) {
  const chosen = (fromFolders && folderOf(picked)) || label;
  const named = picked.path ? { key: picked.path } : { file: picked.file.name };
  return chosen ? { ...named, label: chosen } : named;
}
