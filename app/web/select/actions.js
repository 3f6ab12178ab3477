/** What can be done with selected pictures: label, set a field, search, export, delete. */

import { checkExport, deleteSelected, exportUrl, restoreDeletion, updateSelected } from "../api/bulk.js";
import { getFacets } from "../api/client.js";
import { openDialog, openForm } from "../common/dialog.js";
import { el } from "../common/dom.js";
import { HttpError, UserError, messageOf } from "../common/errors.js";
import { pluralise } from "../common/format.js";
import { showToast } from "../common/toast.js";
import { parseValue } from "../edit/values.js";

/** @import { Change, Selected } from "../api/bulk.js" */
/** @import { Action } from "./attach.js" */
/** @import { SelectionBar } from "./bar.js" */

/**
 * @typedef {object} Effects
 * @property {() => Promise<void>} reload shows the view again, with the changes
 * @property {(ids: number[]) => void} search with all of these pictures
 */

const MAX_EXAMPLES = 16;
const MAX_LABEL_LENGTH = 512;
const MAX_IDS_LENGTH = 16_000; // in a URL
const SELECTION_CHANGED = "selection_changed";
const KEPT = "You can undo this, or restore them from the trash later, unless the service keeps no trash.";
const NO_FILTER = { label: null, filter: null, text: null };

/**
 * @param {Effects} effects
 * @returns {Action[]}
 */
export function selectionActions(effects) {
  return [
    { text: "Search", run: ({ ids }) => effects.search(ids), offered: canSearch },
    { text: "Label…", scope: "write", run: (selected, bar) => openLabel(selected, effects, bar) },
    { text: "Field…", scope: "write", run: (selected, bar) => openField(selected, effects, bar) },
    { text: "Export…", run: openExport },
    {
      text: "Delete…",
      className: "danger",
      scope: "write",
      run: (selected, bar) => openDeleteSelected(selected, effects, bar),
    },
  ];
}

/** @param {Selected} selected */
function canSearch({ ids, matching }) {
  return !matching && ids.length <= MAX_EXAMPLES;
}

/**
 * @param {Selected} selected
 * @param {Effects} effects
 * @param {SelectionBar} bar
 */
function openLabel(selected, effects, bar) {
  const input = el("input", { maxLength: MAX_LABEL_LENGTH, autocomplete: "off", autofocus: true });
  const hint = el("p", { className: "hint" }, "Leave it empty to remove the label.");
  const form = el("div", { className: "form" }, el("label", {}, "Label", input), hint);
  suggest(input, "labels", async () => (await getFacets(NO_FILTER)).labels.map(({ value }) => String(value)));
  openForm(`Label ${countOf(selected)}`, "edit", form, "Save", () => {
    const label = input.value.trim() || null;
    const done = label ? `labelled “${label}”` : "without a label now";
    return save(selected, { set_label: label }, done, effects, bar);
  });
}

/**
 * @param {Selected} selected
 * @param {Effects} effects
 * @param {SelectionBar} bar
 */
function openField(selected, effects, bar) {
  const name = el("input", { autocomplete: "off", autofocus: true });
  const value = el("input", { autocomplete: "off" });
  const hint = "Leave the value empty to remove the field. Numbers, true, false and lists are stored as such.";
  const form = el(
    "div",
    { className: "form" },
    el("label", {}, "Field", name),
    el("label", {}, "Value", value),
    el("p", { className: "hint" }, hint),
  );
  suggest(name, "fields", async () => (await getFacets(NO_FILTER)).fields.map((field) => field.name));
  openForm(`Set a field of ${countOf(selected)}`, "edit", form, "Save", () => {
    const field = name.value.trim();
    if (!field) throw new UserError("The field has no name. Enter one.");
    const text = value.value.trim();
    const done = text ? `changed: ${field} is ${text}` : `changed: ${field} is removed`;
    return save(selected, { metadata: { [field]: text ? parseValue(text) : null } }, done, effects, bar);
  });
}

/**
 * @param {Selected} selected
 * @param {Change} change
 * @param {string} done what is said of the pictures afterwards
 * @param {Effects} effects
 * @param {SelectionBar} bar
 */
async function save(selected, change, done, effects, bar) {
  if (!(await succeeds(updateSelected(selected, change), bar))) return;
  if (selected.matching) bar.clear(); // others may match now
  await effects.reload();
  showToast(`${countOf(selected)} ${done}.`);
}

/**
 * @param {Selected} selected
 * @param {Effects} effects
 * @param {SelectionBar} bar
 */
function openDeleteSelected(selected, effects, bar) {
  const text = el("p", {}, KEPT);
  openForm(`Delete ${countOf(selected)}?`, "delete", text, "Delete", async () => {
    const deleted = await succeeds(deleteSelected(selected), bar);
    if (!deleted) return;
    bar.clear();
    await effects.reload();
    showDeleted(deleted.deleted, deleted.deletion_id, effects.reload);
  });
}

/**
 * Say that pictures were deleted, and offer to restore them if they are in the trash.
 *
 * @param {number} count
 * @param {number | null} deletion
 * @param {() => Promise<void>} reload
 */
function showDeleted(count, deletion, reload) {
  const undo = async (/** @type {number} */ id) => {
    try {
      await restoreDeletion(id);
      await reload();
      showToast(`${pluralise(count, "picture")} restored.`);
    } catch (error) {
      showToast(messageOf(error));
    }
  };
  showToast(`${pluralise(count, "picture")} deleted.`, deletion === null ? null : { text: "Undo", run: () => undo(deletion) });
}

/** @param {Selected} selected */
function openExport(selected) {
  if (!selected.matching && selected.ids.join().length > MAX_IDS_LENGTH)
    throw new UserError(`${countOf(selected)} are too many to export one by one. Select fewer, or all that match.`);
  const message = el("p", { className: "error", role: "alert" });
  const controller = new AbortController();
  const link = (/** @type {string} */ text, /** @type {"jsonl" | "csv"} */ format) => {
    const anchor = el("a", { className: "link", href: exportUrl(selected, format), download: `pictures.${format}` }, text);
    anchor.addEventListener("click", async (event) => {
      event.preventDefault();
      message.textContent = "";
      try {
        await download(anchor, controller.signal);
        dialog.close();
      } catch (error) {
        if (!controller.signal.aborted) message.textContent = messageOf(error);
      }
    });
    return anchor;
  };
  const csv = link("CSV, for spreadsheets", "csv");
  const jsonl = link("JSON Lines, for programs", "jsonl");
  const text = el("p", {}, "The file has the key, label and metadata of each picture.");
  const links = el("p", { className: "controls" }, csv, jsonl);
  const dialog = openDialog(`Export ${countOf(selected)}`, "export", text, links, message);
  dialog.addEventListener("close", () => controller.abort());
}

/**
 * Let the browser download a file, which it writes to the disk while it arrives. It would show no error response, so
 * the export is checked before.
 *
 * @param {HTMLAnchorElement} anchor
 * @param {AbortSignal} signal
 */
async function download({ href, download }, signal) {
  await checkExport(href, signal);
  signal.throwIfAborted();
  el("a", { href, download }).click();
}

/**
 * @template Result
 * @param {Promise<Result>} request
 * @param {SelectionBar} bar shows the error if the selection has changed meanwhile
 * @returns {Promise<Result | null>} null if it has
 */
async function succeeds(request, bar) {
  try {
    return await request;
  } catch (error) {
    if (!(error instanceof HttpError) || error.code !== SELECTION_CHANGED) throw error;
    bar.showError(error);
    return null;
  }
}

/**
 * Suggest values for an input; without them it is an ordinary one.
 *
 * @param {HTMLInputElement} input
 * @param {string} name
 * @param {() => Promise<string[]>} load
 */
async function suggest(input, name, load) {
  const list = el("datalist", { id: `suggested-${name}` });
  input.setAttribute("list", list.id);
  input.after(list);
  const values = await load().catch(() => []);
  list.append(...values.map((value) => el("option", { value })));
}

/** @param {Selected} selected */
function countOf({ count }) {
  return pluralise(count, "picture");
}
