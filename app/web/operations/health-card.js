/** Card: whether the service is ready, and the size of the catalogue. */

import { BASE } from "../common/base-url.js";
import { el } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { badge, card, figures, formatBytes, heading, taskStatus } from "./parts.js";

/** @import { Act, State } from "./operations.js" */

/**
 * @param {State} state
 * @param {Act} act
 */
export function healthCard({ session, ready, stats, tasks, trash }, act) {
  const { images, labels, bytes, version, seq, applied_seq: applied } = stats;
  const demo = tasks.find(({ kind, state }) => kind === "demo" && ["running", "failed"].includes(state));
  return card([ready, images, labels, bytes, version, seq === applied, trash, demo], () => {
    const pictures = el("strong", {}, images.toLocaleString("en"));
    return [
      heading("health", "Service", badge(ready.ok ? "Ready" : "Not ready", ready.ok ? "good" : "bad")),
      ...(ready.ok ? [] : [el("p", { className: "error" }, ready.detail)]),
      figures([
        ["Pictures", pictures],
        ["Labels", labels.toLocaleString("en")],
        ["Originals on disk", formatBytes(bytes.originals)],
        ["Vectors on disk", formatBytes(bytes.vectors)],
        ["Codes in memory", formatBytes(bytes.codes)],
        ...trashFigure(trash),
        ["Version", version],
      ]),
      ...taskStatus(demo, act, session.scopes.includes("admin")),
    ];
  });
}

/**
 * @param {State["trash"]} trash
 * @returns {[string, string | Node][]}
 */
function trashFigure(trash) {
  if (!trash) return [];
  const size = `${pluralise(trash.count, "picture")}${trash.more ? " or more" : ""}`;
  return [["In the trash", el("a", { href: new URL("?trash", BASE).href }, size)]];
}
