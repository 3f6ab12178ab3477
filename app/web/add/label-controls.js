/** Controls for the labels of added pictures: the name of each picture's folder, or one label for all. */

import { el } from "../common/dom.js";
import { folderOf } from "./files.js";

/** @import { PickedFile } from "./files.js" */
/** @import { LabelChoice } from "./upload-queue.js" */

const MAX_LISTED_FOLDERS = 5;
const MAX_LABEL_LENGTH = 512;
const LABEL_FOR_ALL = "Label for all (optional)";

/**
 * @param {PickedFile[]} pictures
 * @returns {{element: HTMLElement, read: () => LabelChoice}}
 */
export function labelControls(pictures) {
  const folders = [...new Set(pictures.map(folderOf))].filter(Boolean);
  const input = el("input", { id: "label-for-all", maxLength: MAX_LABEL_LENGTH, autocomplete: "off" });
  const byFolder = el("input", { type: "checkbox", checked: folders.length > 0 });
  const text = `Use folder names as labels: ${listed(folders)}`;
  const choice = folders.length ? [el("label", { className: "choice" }, byFolder, text)] : [];
  const title = folders.length ? "Label for the others (optional)" : LABEL_FOR_ALL;
  const field = el("p", {}, el("label", { htmlFor: input.id }, title), input);
  const allInFolders = pictures.every((picked) => folderOf(picked));
  const update = () => {
    field.hidden = byFolder.checked && allInFolders;
    /** @type {HTMLElement} */ (field.firstChild).textContent = byFolder.checked ? title : LABEL_FOR_ALL;
  };
  byFolder.addEventListener("change", update);
  update();
  const read = () => ({ fromFolders: byFolder.checked, label: field.hidden ? "" : input.value.trim() });
  return { element: el("div", { className: "labels" }, ...choice, field), read };
}

/** @param {string[]} folders */
function listed(folders) {
  const more = folders.length - MAX_LISTED_FOLDERS;
  return folders.slice(0, MAX_LISTED_FOLDERS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
