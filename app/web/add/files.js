/**
 * Read chosen and dropped files, including folders with subfolders.
 *
 * The MIME type is empty for formats that the browser does not recognise, such as HEIC; then the service decides
 * whether a file is a picture.
 */

import { UserError } from "../common/errors.js";

const TABLE = /\.(csv|tsv|jsonl|ndjson)$/i;

/** @typedef {{file: File, path: string}} PickedFile the path starts with the folder's name; empty without a folder */

/**
 * @param {FileList | null | undefined} files
 * @returns {PickedFile[]}
 */
export function fromFileList(files) {
  return [...(files ?? [])].map((file) => ({ file, path: file.webkitRelativePath }));
}

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<PickedFile[]>}
 */
export async function fromDrop(transfer) {
  // Read all entries before the first await: the items of a drop are not available afterwards.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return fromFileList(transfer.files);
  const walked = entries.flatMap((entry) => (entry ? [walk(entry)] : []));
  return (await Promise.all(walked)).flat();
}

/** @param {PickedFile} picked */
export function mayBePicture({ file }) {
  const hidden = file.name.startsWith(".");
  return !hidden && !TABLE.test(file.name) && (file.type === "" || file.type.startsWith("image/"));
}

/** @param {PickedFile} picked */
export function isTable({ file }) {
  return TABLE.test(file.name) && !file.name.startsWith(".");
}

/**
 * @param {PickedFile} picked
 * @returns {string} the name of the folder that contains the file; empty without a folder
 */
export function folderOf({ path }) {
  return path.split("/").at(-2) ?? "";
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<PickedFile[]>}
 */
async function walk(entry) {
  if (entry.isFile) return [await readFile(/** @type {FileSystemFileEntry} */ (entry))];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {PickedFile[]} */
  const found = [];
  for (;;) {
    const batch = await readEntries(entry.name, reader); // browsers return at most 100 entries per call
    if (!batch.length) return found;
    for (const child of batch) found.push(...(await walk(child)));
  }
}

/**
 * @param {string} name
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function readEntries(name, reader) {
  const error = new UserError(`The folder ${name} cannot be read.`);
  return new Promise((resolve, reject) => reader.readEntries(resolve, () => reject(error)));
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<PickedFile>}
 */
function readFile(entry) {
  const error = new UserError(`The file ${entry.name} cannot be read.`);
  const path = entry.fullPath.replace(/^\//, "");
  const inFolder = path.includes("/");
  return new Promise((resolve, reject) => {
    entry.file(
      (file) => resolve({ file, path: inFolder ? path : "" }),
      () => reject(error),
    );
  });
}
