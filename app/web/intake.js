/**
 * The three ways in which a person hands a picture over: choosing, dropping, pasting.
 *
 * Gives the file on and judges only what the browser already knows of it; the service decides whether it is a
 * picture.
 */

/** @typedef {(file: File) => void} OnFile */

/** @typedef {(sentence: string) => void} OnRefusal */

/**
 * @param {HTMLElement} button
 * @param {HTMLInputElement} input the file input behind the button
 * @param {OnFile} onFile
 * @param {OnRefusal} onRefusal
 */
export function listenForPictures(button, input, onFile, onRefusal) {
  listenForChoice(button, input, (files) => offer(files, "Nothing was chosen.", onFile, onRefusal));
  listenForDrop((files) => offer(files, "There was no picture in what you dropped.", onFile, onRefusal));
  document.addEventListener("paste", (event) => {
    offer(event.clipboardData?.files, "There is no picture on the clipboard.", onFile, onRefusal);
  });
}

/**
 * @param {FileList | null | undefined} files
 * @param {string} nothing the sentence for no files at all
 * @param {OnFile} onFile
 * @param {OnRefusal} onRefusal
 */
function offer(files, nothing, onFile, onRefusal) {
  const given = [...(files ?? [])];
  const picture = given.find(mayBePicture);
  if (picture) onFile(picture);
  else onRefusal(given.length ? `${given[0].name} is not a picture.` : nothing);
}

/**
 * Browsers leave the type of formats that they do not know empty, HEIC for one.
 *
 * @param {File} file
 */
function mayBePicture(file) {
  return file.type === "" || file.type.startsWith("image/");
}

/**
 * @param {HTMLElement} button
 * @param {HTMLInputElement} input
 * @param {(files: FileList | null) => void} onFiles
 */
function listenForChoice(button, input, onFiles) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    onFiles(input.files);
    input.value = ""; // so that choosing the same file again is a change again
  });
}

/** @param {(files: FileList | undefined) => void} onFiles */
function listenForDrop(onFiles) {
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
    onFiles(event.dataTransfer?.files);
  });
}

/** @param {boolean} shown */
function showDropTarget(shown) {
  document.body.classList.toggle("dragging", shown);
}
