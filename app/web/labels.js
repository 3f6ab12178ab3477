/** Which label pictures get that are added: the name of their folder, or one for all. */

import { el } from "./dom.js";
import { folderOf } from "./files.js";

/** @import { Labels } from "./adding.js" */
/** @import { Given } from "./files.js" */

const FOLDERS_NAMED = 5;
const LONGEST_LABEL = 512;

/**
 * @param {Given[]} pictures
 * @returns {{element: HTMLElement, read: () => Labels}}
 */
export function labelControls(pictures) {
  const folders = [...new Set(pictures.map(folderOf))].filter(Boolean);
  const typed = el("input", { id: "label-for-all", maxLength: LONGEST_LABEL, autocomplete: "off" });
  const byFolder = el("input", { type: "checkbox", checked: folders.length > 0 });
  const sentence = `Label each with the name of its folder: ${named(folders)}`;
  const choice = folders.length ? [el("label", { className: "choice" }, byFolder, sentence)] : [];
  const title = folders.length ? "Label for the others" : "Label for all, if you like";
  const field = el("p", {}, el("label", { htmlFor: typed.id }, title), typed);
  const everyHasFolder = pictures.every((given) => folderOf(given));
  const show = () => {
    field.hidden = byFolder.checked && everyHasFolder;
    /** @type {HTMLElement} */ (field.firstChild).textContent = byFolder.checked
      ? title
      : "Label for all, if you like";
  };
  byFolder.addEventListener("change", show);
  show();
  const read = () => ({ fromFolders: byFolder.checked, label: field.hidden ? "" : typed.value.trim() });
  return { element: el("div", { className: "labels" }, ...choice, field), read };
}

/** @param {string[]} folders */
function named(folders) {
  const more = folders.length - FOLDERS_NAMED;
  return folders.slice(0, FOLDERS_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
