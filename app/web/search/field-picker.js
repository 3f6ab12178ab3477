/** Choice of the fields that tiles show as title and in the line below. */

import { el } from "../common/dom.js";
import { NOTHING, chooseField, chosenField } from "./captions.js";

/** @import { CaptionPart } from "./captions.js" */

const PARTS = /** @type {const} */ ([
  ["title", "Title", []],
  ["line", "Line below", [[NOTHING, "Nothing"]]],
]);

/**
 * @param {string[]} names of the fields that pictures have
 * @param {() => void} onChange
 */
export function fieldPicker(names, onChange) {
  const controls = PARTS.map(([part, title, more]) => {
    const select = el("select", { id: `caption-${part}` });
    const fields = [...new Set(["label", "key", ...names, chosenField(part)])].filter(
      (name) => name && name !== NOTHING,
    );
    const choices = [["", "Automatic"], ...more, ...fields.map((name) => [name, name])];
    select.append(
      ...choices.map(([value, text]) => el("option", { value, selected: value === chosenField(part) }, text)),
    );
    select.addEventListener("change", () => {
      chooseField(/** @type {CaptionPart} */ (part), select.value);
      onChange();
    });
    return el("label", {}, title, select);
  });
  const hint = "This browser remembers the choice.";
  return el("div", { className: "field-picker" }, ...controls, el("p", { className: "hint" }, hint));
}
