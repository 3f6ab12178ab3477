/** Add, edit and delete pictures of the catalogue, and say what was done, with Undo. */

import { addPictures, restorePictures } from "../api/client.js";
import { UserError, messageOf } from "../common/errors.js";
import { showToast } from "../common/toast.js";
import { openDelete, openEdit } from "../edit/edit-dialogs.js";

/** @import { Picture } from "../api/client.js" */

/**
 * What follows a change.
 *
 * @typedef {object} Handlers
 * @property {() => Promise<void>} reload
 * @property {(picture: Picture) => Promise<void>} onDeleted
 * @property {(picture: Picture) => Promise<void>} onRestored
 * @property {(id: string) => Promise<void>} onAdded
 */

export class PictureActions {
  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.handlers = handlers;
  }

  /** @param {Picture} picture */
  edit(picture) {
    openEdit(picture, async () => {
      await this.handlers.reload();
      showToast("Saved.");
    });
  }

  /** @param {Picture} picture */
  remove(picture) {
    openDelete(picture, async () => {
      await this.handlers.onDeleted(picture);
      showToast("Deleted.", { text: "Undo", run: () => this.restore(picture) });
    });
  }

  /** @param {Picture} picture */
  async restore(picture) {
    try {
      await restorePictures([picture.id]);
      await this.handlers.onRestored(picture);
      showToast("Restored.");
    } catch (error) {
      showToast(messageOf(error));
    }
  }

  /**
   * Add the picture that was searched with, which makes its search a link that can be shared.
   *
   * @param {File} file
   */
  async add(file) {
    try {
      const [{ id, error }] = await addPictures([{ file, metadata: { file: file.name } }]);
      if (id === null) throw new UserError(error ?? "The picture cannot be added.");
      await this.handlers.onAdded(String(id));
      showToast("Added to the catalogue. The link in the address bar can be shared.");
    } catch (error) {
      showToast(messageOf(error));
    }
  }
}
