/**
 * Files as a person hands them over: one, several, or a folder with folders in it.
 *
 * Browsers leave the type of formats that they do not know empty, HEIC for one; the service decides whether a
 * file is a picture.
 */

import { ReadableError } from "./errors.js";

/** @typedef {{file: File, path: string}} Given the path is empty for a file that came without its folder */

/**
 * @param {FileList | null | undefined} files of an input
 * @returns {Given[]}
 */
export function fromList(files) {
  return [...(files ?? [])].map((file) => ({ file, path: file.webkitRelativePath }));
}

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<Given[]>}
 */
export async function fromDrop(transfer) {
  // All at once: a drop's items are gone after the first wait.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return fromList(transfer.files);
  const walked = entries.flatMap((entry) => (entry ? [walk(entry)] : []));
  return (await Promise.all(walked)).flat();
}

/** @param {Given} given */
export function mayBePicture({ file }) {
  const hidden = file.name.startsWith(".");
  return !hidden && (file.type === "" || file.type.startsWith("image/"));
}

/**
 * @param {Given} given
 * @returns {string} the name of the folder that it lies in, or nothing
 */
export function folderOf({ path }) {
  return path.split("/").at(-2) ?? "";
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<Given[]>}
 */
async function walk(entry) {
  if (entry.isFile) return [await read(/** @type {FileSystemFileEntry} */ (entry))];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {Given[]} */
  const found = [];
  for (;;) {
    const some = await list(entry.name, reader); // browsers hand over a hundred at a time
    if (!some.length) return found;
    for (const child of some) found.push(...(await walk(child)));
  }
}

/**
 * @param {string} name
 * @param {FileSystemDirectoryReader} reader
 * @returns {Promise<FileSystemEntry[]>}
 */
function list(name, reader) {
  const trouble = new ReadableError(`The folder ${name} cannot be read.`);
  return new Promise((resolve, reject) => reader.readEntries(resolve, () => reject(trouble)));
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<Given>}
 */
function read(entry) {
  const trouble = new ReadableError(`The file ${entry.name} cannot be read.`);
  const path = entry.fullPath.replace(/^\//, "");
  const alone = !path.includes("/");
  return new Promise((resolve, reject) => {
    entry.file(
      (file) => resolve({ file, path: alone ? "" : path }),
      () => reject(trouble),
    );
  });
}
