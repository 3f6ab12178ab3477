/** The trash: deleted pictures, newest first, to restore or to delete for good. */

import { emptyTrash, listTrash } from "../api/bulk.js";
import { restorePictures } from "../api/client.js";
import { openForm } from "../common/dialog.js";
import { button, el, image } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { showToast } from "../common/toast.js";
import { Listing } from "./listing.js";
import { PictureGrid } from "./picture-grid.js";

/** @import { TrashedPicture } from "../api/bulk.js" */
/** @import { View } from "../search/views.js" */

const FIRST_PAGE = 100;

/**
 * @param {() => Promise<void>} reload shows the view again
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function trashView(reload, signal) {
  const first = await listTrash(FIRST_PAGE, null, signal);
  const listing = new Listing(first, listTrash);
  const grid = PictureGrid.create(listing, (picture) => trashedTile(/** @type {TrashedPicture} */ (picture)));
  const empty = button("Empty the trash…", () => openEmpty(reload), { className: "quiet danger" });
  empty.dataset.scope = "write";
  const hint = el("p", { className: "hint" }, "Select pictures to restore them.");
  const pictures = el("div", {}, el("div", { className: "trash-bar" }, hint, empty), grid);
  const restore = {
    text: "Restore",
    scope: "write",
    run: async (/** @type {{ids: number[]}} */ { ids }) => {
      await restorePictures(ids);
      await reload();
      showToast(`${pluralise(ids.length, "picture")} restored.`);
    },
  };
  const selectable = { order: () => grid.ids, actions: [restore] };
  const view = { warnings: [], queryImage: null, response: null };
  if (!first.items.length)
    return { ...view, heading: "The trash is empty", note: "", pictures: el("p"), selectable: null };
  const note = "Deleted pictures are kept here for some time; no search finds them.";
  return { ...view, heading: "Trash", note, pictures, selectable };
}

/** @param {TrashedPicture} picture */
function trashedTile({ id, key, label, deleted_at: deleted, thumbnail_url: thumbnail }) {
  const when = new Date(deleted).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const tile = el(
    "div",
    { className: "tile", tabIndex: 0, title: `${label ?? ""} ${key}`.trim(), role: "group", ariaLabel: key },
    image(thumbnail, ""),
    el("span", { className: "label" }, label || key),
    el("span", { className: "metadata" }, `Deleted ${when}`),
  );
  tile.dataset.id = String(id);
  return el("li", {}, tile);
}

/** @param {() => Promise<void>} reload */
function openEmpty(reload) {
  const text = el("p", {}, "The pictures are deleted for good. This cannot be undone.");
  openForm("Empty the trash?", "delete", text, "Delete for good", async () => {
    await emptyTrash();
    await reload();
    showToast("The trash is empty.");
  });
}
