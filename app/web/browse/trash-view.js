/** The trash: deleted pictures, newest first, to restore or to delete for good. */

import { emptyTrash, listTrash } from "../api/bulk.js";
import { restorePictures } from "../api/client.js";
import { openForm } from "../common/dialog.js";
import { button, el, image } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { showToast } from "../common/toast.js";
import { Listing } from "./listing.js";
import { PictureGrid } from "./picture-grid.js";

/** @import { Selected, TrashedPicture } from "../api/bulk.js" */
/** @import { SelectionBar } from "../select/bar.js" */
/** @import { View } from "../search/views.js" */

const FIRST_PAGE = 100;
/** @type {Intl.DateTimeFormatOptions} */
const UNTIL = { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };

/**
 * @param {() => Promise<void>} reload shows the view again
 * @param {AbortSignal} signal
 * @returns {Promise<View>}
 */
export async function trashView(reload, signal) {
  const first = await listTrash(FIRST_PAGE, null, signal);
  const listing = new Listing(first, listTrash);
  const grid = PictureGrid.create(listing, (picture) => trashedTile(/** @type {TrashedPicture} */ (picture)));
  const empty = button("Empty the trash…", () => openEmpty(reload), { className: "secondary danger" });
  empty.dataset.scope = "write";
  const hint = el("p", { className: "hint" }, "Select pictures to restore them.");
  const pictures = el("div", {}, el("div", { className: "trash-bar" }, hint, empty), grid);
  const restore = {
    text: "Restore",
    scope: "write",
    run: async (/** @type {Selected} */ { ids }, /** @type {SelectionBar} */ bar) => {
      await restorePictures(ids);
      bar.clear();
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
function trashedTile({ id, key, label, expires_at: expires, thumbnail_url: thumbnail }) {
  const until = new Date(expires).toLocaleString("en", UNTIL);
  const tile = el(
    "div",
    { className: "tile", tabIndex: 0, title: label || key, role: "group", ariaLabel: label || key },
    el("span", { className: "frame" }, image(thumbnail, "")),
    el("span", { className: "title" }, label || key),
    el("span", { className: "below" }, el("span", { className: "line" }, `Until ${until}`)),
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
