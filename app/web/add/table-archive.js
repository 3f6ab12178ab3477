/**
 * An archive of pictures and a table of their metadata, as `POST /jobs` reads it: the table is `metadata.csv`, in the
 * top-level folder of the archive or in one below it. Independent of the DOM.
 */

import { tar } from "./tar.js";

/** @import { PickedFile } from "./files.js" */

const MAX_DEPTH = 2; // of the table in the archive

/** @param {PickedFile[]} tables */
export function severalTables(tables) {
  const names = tables.slice(0, 3).map(pathOf).join(", ");
  return `There are ${tables.length} tables: ${names}. Choose the pictures with one of them.`;
}

/**
 * @param {PickedFile[]} pictures
 * @param {PickedFile} table
 * @returns {Blob}
 */
export function tableArchive(pictures, table) {
  const folders = pathOf(table).split("/").slice(0, -1);
  const above = folders.slice(0, Math.max(0, folders.length + 1 - MAX_DEPTH));
  const prefix = above.map((name) => `${name}/`).join("");
  const inside = (/** @type {string} */ path) => (path.startsWith(prefix) ? path.slice(prefix.length) : path);
  const suffix = table.file.name.slice(table.file.name.lastIndexOf(".")).toLowerCase();
  const folder = folders.map((name) => `${name}/`).join("");
  const entries = pictures.map((picked) => ({ path: inside(pathOf(picked)), file: picked.file }));
  return tar([{ path: inside(`${folder}metadata${suffix}`), file: table.file }, ...entries]);
}

/** @param {PickedFile} picked */
export function pathOf({ file, path }) {
  return path || file.name;
}
