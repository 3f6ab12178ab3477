/** Arrow keys move the focus through a grid of tiles. */

/** Listen for arrow keys on tiles, wherever they are in the document. */
export function listenForArrows() {
  document.addEventListener("keydown", (event) => {
    const tile = document.activeElement;
    const { ctrlKey, metaKey, altKey, shiftKey } = event;
    if (event.defaultPrevented || ctrlKey || metaKey || altKey || shiftKey) return;
    if (!(tile instanceof HTMLElement) || !tile.matches("a.tile")) return;
    const next = neighbour(tile, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

/**
 * @param {HTMLElement} tile
 * @param {string} key
 * @returns {HTMLElement | undefined} the tile in this direction
 */
function neighbour(tile, key) {
  const all = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("a.tile"));
  const tiles = [...all].filter((one) => one.checkVisibility());
  const position = tiles.indexOf(tile);
  if (key === "ArrowRight") return tiles[position + 1];
  if (key === "ArrowLeft") return tiles[position - 1];
  const { left, top } = tile.getBoundingClientRect();
  const inColumn = (/** @type {HTMLElement} */ one) => Math.abs(one.getBoundingClientRect().left - left) < 2;
  if (key === "ArrowDown") return tiles.slice(position + 1).find(inColumn);
  if (key === "ArrowUp") return tiles.slice(0, Math.max(position, 0)).findLast((one) => inColumn(one) && one.getBoundingClientRect().top < top);
  return undefined;
}
