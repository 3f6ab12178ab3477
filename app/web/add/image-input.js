/**
 * Image input: choose, photograph, drop and paste pictures.
 *
 * A single picture starts a search; several pictures, or a folder, are added to the catalogue, also with a table.
 */

import { byId } from "../common/dom.js";
import { fromDrop, fromFileList, isTable, mayBePicture } from "./files.js";
import { severalTables } from "./table-archive.js";

/** @import { PickedFile } from "./files.js" */

/**
 * @typedef {object} ImageHandlers
 * @property {(file: File) => void} search
 * @property {(pictures: PickedFile[], skipped: number, table: PickedFile | null) => void} add
 * @property {(message: string) => void} reject
 */

/** @param {ImageHandlers} handlers */
export function listenForImages(handlers) {
  listenForChoice("choose", "file", (files) => searchOrAdd(files, "No file was chosen.", handlers));
  listenForChoice("photograph", "camera", (files) => searchOrAdd(files, "No picture was taken.", handlers));
  listenForChoice("add-pictures", "several", (files) => addPictures(files, "No file was chosen.", handlers));
  listenForChoice("add-folder", "folder", (files) => addPictures(files, "The folder is empty.", handlers));
  listenForDrop((files) => searchOrAdd(files, "The dropped item is not a picture.", handlers), handlers);
  document.addEventListener("paste", (event) => {
    const files = fromFileList(event.clipboardData?.files);
    if (files.length || !isTextInput(event.target))
      searchOrAdd(files, "The clipboard does not contain a picture.", handlers);
  });
}

/**
 * @param {PickedFile[]} files
 * @param {string} emptyMessage the message if there are no files
 * @param {ImageHandlers} handlers
 */
function searchOrAdd(files, emptyMessage, handlers) {
  const pictures = files.filter(mayBePicture);
  if (pictures.length === 1 && !files.some(({ path }) => path) && !files.some(isTable)) handlers.search(pictures[0].file);
  else addPictures(files, emptyMessage, handlers);
}

/**
 * @param {PickedFile[]} files
 * @param {string} emptyMessage
 * @param {ImageHandlers} handlers
 */
function addPictures(files, emptyMessage, { add, reject }) {
  const pictures = files.filter(mayBePicture);
  const tables = files.filter(isTable);
  if (pictures.length && tables.length > 1) reject(severalTables(tables));
  else if (pictures.length) add(pictures, files.length - pictures.length - tables.length, tables[0] ?? null);
  else if (tables.length === files.length && tables.length)
    reject(`${tables[0].file.name} is a table. Choose it together with the pictures that it names.`);
  else if (files.length > 1) reject(`None of the ${files.length} files is a picture.`);
  else reject(files.length ? `${files[0].file.name} is not a picture.` : emptyMessage);
}

/**
 * @param {string} buttonId
 * @param {string} inputId the hidden file input that the button opens
 * @param {(files: PickedFile[]) => void} onFiles
 */
function listenForChoice(buttonId, inputId, onFiles) {
  const input = /** @type {HTMLInputElement} */ (byId(inputId));
  byId(buttonId).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    onFiles(fromFileList(input.files));
    input.value = ""; // otherwise choosing the same file again fires no change event
  });
}

/**
 * @param {(files: PickedFile[]) => void} onFiles
 * @param {ImageHandlers} handlers
 */
function listenForDrop(onFiles, { reject }) {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    showDropTarget(event.dataTransfer?.types.includes("Files") ?? false);
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) showDropTarget(false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    showDropTarget(false);
    if (event.dataTransfer) fromDrop(event.dataTransfer).then(onFiles, (error) => reject(error.message));
  });
}

/** @param {EventTarget | null} target */
function isTextInput(target) {
  return target instanceof Element && target.closest("input, textarea") !== null;
}

/** @param {boolean} visible */
function showDropTarget(visible) {
  document.body.classList.toggle("dragging", visible);
}
