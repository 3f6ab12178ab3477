/** The header's menu, which is folded on narrow screens. */

import { byId } from "../common/dom.js";

export function listenForMenu() {
  const [opener, menu] = [byId("menu-button"), byId("menu")];
  const set = (/** @type {boolean} */ open) => {
    opener.ariaExpanded = String(open);
    menu.classList.toggle("open", open);
  };
  opener.addEventListener("click", () => set(!menu.classList.contains("open")));
  document.addEventListener("click", ({ target }) => target !== opener && set(false));
  menu.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    set(false);
    opener.focus();
  });
}
