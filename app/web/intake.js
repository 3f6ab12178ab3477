/**
 * The ways in which a person hands pictures over: choosing, photographing, dropping, pasting.
 *
 * One picture is to search with; several, or a folder, are to be added.
 */

import { byId } from "./dom.js";
import { fromDrop, fromList, mayBePicture } from "./files.js";

/** @import { Given } from "./files.js" */

/**
 * What becomes of what is handed over.
 *
 * @typedef {object} Takers
 * @property {(file: File) => void} search
 * @property {(pictures: Given[], leftOut: number) => void} add
 * @property {(sentence: string) => void} refuse
 */

/** @param {Takers} takers */
export function listenForPictures(takers) {
  listenForChoice("choose", "file", (given) => offer(given, "Nothing was chosen.", takers));
  listenForChoice("photograph", "camera", (given) => offer(given, "No picture was taken.", takers));
  listenForChoice("add-pictures", "several", (given) => offerToAdd(given, "Nothing was chosen.", takers));
  listenForChoice("add-folder", "folder", (given) => offerToAdd(given, "The folder is empty.", takers));
  listenForDrop((given) => offer(given, "There was no picture in what you dropped.", takers), takers);
  document.addEventListener("paste", (event) => {
    const given = fromList(event.clipboardData?.files);
    if (given.length || !isTyping(event.target))
      offer(given, "There is no picture on the clipboard.", takers);
  });
}

/**
 * @param {Given[]} given
 * @param {string} nothing the sentence for no files at all
 * @param {Takers} takers
 */
function offer(given, nothing, takers) {
  const pictures = given.filter(mayBePicture);
  if (pictures.length === 1 && !given.some(({ path }) => path)) takers.search(pictures[0].file);
  else offerToAdd(given, nothing, takers);
}

/**
 * @param {Given[]} given
 * @param {string} nothing
 * @param {Takers} takers
 */
function offerToAdd(given, nothing, { add, refuse }) {
  const pictures = given.filter(mayBePicture);
  if (pictures.length) add(pictures, given.length - pictures.length);
  else if (given.length > 1) refuse(`None of these ${given.length} files is a picture.`);
  else refuse(given.length ? `${given[0].file.name} is not a picture.` : nothing);
}

/**
 * @param {string} button
 * @param {string} input behind the button
 * @param {(given: Given[]) => void} onGiven
 */
function listenForChoice(button, input, onGiven) {
  const field = /** @type {HTMLInputElement} */ (byId(input));
  byId(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    onGiven(fromList(field.files));
    field.value = ""; // so that choosing the same file again is a change again
  });
}

/**
 * @param {(given: Given[]) => void} onGiven
 * @param {Takers} takers
 */
function listenForDrop(onGiven, { refuse }) {
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
    if (event.dataTransfer) fromDrop(event.dataTransfer).then(onGiven, (error) => refuse(error.message));
  });
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea") !== null;
}

/** @param {boolean} shown */
function showDropTarget(shown) {
  document.body.classList.toggle("dragging", shown);
}
