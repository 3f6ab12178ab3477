/**
 * The query as a strip that stays at the top: earlier searches, the picture, further examples, and its actions.
 *
 * The cropper opens below it. Its element is reused as long as the picture is the same, so that a drag in progress is
 * not interrupted.
 */

import { button, el, image } from "../common/dom.js";
import { Cropper } from "../crop/cropper.js";
import { parseRectangle } from "../crop/crop-rectangle.js";
import { breadcrumbLinks } from "../navigation/breadcrumbs.js";
import { NO_SOURCE } from "../navigation/route.js";
import { captionTitle } from "./captions.js";

/** @import { Picture } from "../api/client.js" */
/** @import { Crumb, Source, UrlOf } from "../navigation/route.js" */
/** @import { Rectangle, Size } from "../crop/crop-rectangle.js" */
/** @import { QueryImage } from "./upload.js" */
/** @import { Examples } from "./views.js" */

/**
 * Handlers of the strip's controls.
 *
 * @typedef {object} Actions
 * @property {(source: Source) => void} crop
 * @property {(file: File) => void} add
 * @property {(picture: Picture) => void} open shows a picture in the panel
 * @property {(id: string) => void} removeExample
 * @property {() => boolean} mayWrite whether the API key allows to add pictures
 */

export class Strip {
  /** @type {{imageKey: string, cropper: Cropper} | null} */
  shown = null;

  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.card = el("div", { className: "crop-card", id: "crop-card", hidden: true });
    this.card.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.openCropper(false);
    });
    this.bar = el("div", { className: "strip" });
    root.append(this.bar, this.card);
  }

  /** Cancel a crop in progress, because the page navigates. */
  cancelCrop() {
    this.shown?.cropper.cancel();
  }

  clear() {
    this.cancelCrop();
    this.shown = null;
    this.bar.replaceChildren();
    this.openCropper(false);
  }

  /**
   * Show the picture of a search that is running.
   *
   * @param {Pick<QueryImage, "title" | "thumbnail">} queryImage
   */
  showPending({ title, thumbnail }) {
    this.clear();
    const name = el("p", { className: "summary" }, el("strong", { className: "title" }, title));
    this.bar.append(el("span", { className: "query-image" }, image(thumbnail, "")), name);
  }

  /**
   * @param {QueryImage} queryImage
   * @param {Examples} examples
   * @param {Source} source
   * @param {Crumb[]} crumbs
   * @param {UrlOf} urlOf
   */
  show(queryImage, examples, source, crumbs, urlOf) {
    this.showCropper(queryImage, source);
    const start = urlOf(NO_SOURCE);
    const breadcrumbs = el("nav", { id: "breadcrumbs", ariaLabel: "Breadcrumbs" });
    breadcrumbs.append(...breadcrumbLinks(crumbs, urlOf, start));
    const close = el("a", { href: start, className: "close", ariaLabel: "End this search" }, "×");
    const actions = el("p", { className: "strip-actions" }, this.cropButton(source.crop), ...this.addButton(queryImage));
    const hadFocus = this.bar.contains(document.activeElement);
    const parts = [breadcrumbs, this.picture(queryImage, source.crop), summary(queryImage), this.examples(examples)];
    this.bar.replaceChildren(...parts, actions, close);
    if (hadFocus) actions.querySelector("button")?.focus();
  }

  /**
   * @param {QueryImage} queryImage
   * @param {Source} source
   */
  showCropper({ thumbnail, original, title, size, file }, source) {
    const { id, upload, crop } = source;
    const imageKey = id ?? `upload ${upload}`;
    if (this.shown?.imageKey !== imageKey) {
      this.clear();
      const onCrop = (/** @type {string | null} */ part) => this.actions.crop({ id, upload, crop: part });
      const cropper = new Cropper(file ? original : thumbnail, title, size, onCrop);
      this.shown = { imageKey, cropper };
      const done = button("Done", () => this.openCropper(false), { className: "disclosure plain" });
      cropper.controls.append(done);
      this.card.replaceChildren(cropper.element);
    }
    this.shown.cropper.show(crop);
  }

  /** @param {boolean} open */
  openCropper(open) {
    this.card.hidden = !open;
    const opener = /** @type {HTMLElement | null} */ (this.bar.querySelector(".crop-button"));
    if (opener) opener.ariaExpanded = String(open);
    if (open) this.shown?.cropper.focus();
    else if (this.card.contains(document.activeElement)) opener?.focus();
  }

  /** @param {string | null} crop */
  cropButton(crop) {
    const text = crop ? "Cropped" : "Crop";
    const opener = button(text, () => this.openCropper(this.card.hidden), { className: "disclosure crop-button" });
    opener.setAttribute("aria-controls", this.card.id);
    opener.ariaExpanded = String(!this.card.hidden);
    return opener;
  }

  /** @param {QueryImage} queryImage */
  addButton({ file }) {
    if (!file || !this.actions.mayWrite()) return [];
    return [button("Add to the catalogue", () => this.actions.add(file), { className: "disclosure plain" })];
  }

  /**
   * The thumbnail with the crop; a click shows a catalogue picture in the panel.
   *
   * @param {QueryImage} queryImage
   * @param {string | null} crop
   */
  picture({ thumbnail, title, picture, size }, crop) {
    const frame = el("span", { className: "query-image" }, image(thumbnail, picture ? "" : `Query picture: ${title}`));
    const rectangle = parseRectangle(crop);
    if (rectangle && size) frame.append(cropMark(rectangle, size));
    if (!picture) return frame;
    const open = () => this.actions.open(picture);
    const opener = button("", open, { className: "query-button", ariaLabel: `Details of ${title}` });
    opener.append(frame);
    return opener;
  }

  /** @param {Examples} examples */
  examples({ like, unlike }) {
    const chips = [
      ...like.map((picture) => this.example(picture, true)),
      ...unlike.map((picture) => this.example(picture, false)),
    ];
    return el("ul", { id: "examples", ariaLabel: "Further examples" }, ...chips);
  }

  /**
   * @param {Picture} picture
   * @param {boolean} isLiked
   */
  example(picture, isLiked) {
    const title = captionTitle(picture);
    const remove = () => this.actions.removeExample(String(picture.id));
    const ariaLabel = `Remove ${isLiked ? "more" : "less"} like ${title}`;
    const chip = button("", remove, { className: `example ${isLiked ? "like" : "unlike"}`, ariaLabel, title: ariaLabel });
    chip.append(image(picture.thumbnail_url, ""));
    return el("li", {}, chip);
  }
}

/** @param {QueryImage} queryImage */
function summary({ title, subtitle, file }) {
  const hint = file ? [el("span", { className: "hint" }, "Only in this tab: the link cannot be shared.")] : [];
  const name = subtitle ? [el("span", { className: "key" }, subtitle)] : [];
  return el("p", { className: "summary" }, el("strong", { className: "title" }, title), ...name, ...hint);
}

/**
 * @param {Rectangle} rectangle
 * @param {Size} size
 */
function cropMark({ x, y, width, height }, size) {
  const mark = el("span", { className: "crop-mark" });
  const side = Math.max(size.width, size.height);
  const [left, top] = [(side - size.width) / 2 + x, (side - size.height) / 2 + y];
  const shares = Object.entries({ left, top, width, height }).map(([name, value]) => [name, `${(100 * value) / side}%`]);
  Object.assign(mark.style, Object.fromEntries(shares));
  return mark;
}
