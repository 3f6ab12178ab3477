/** Card: the search quality report, its worst labels first, with example searches. */

import { BASE } from "../common/base-url.js";
import { el, image } from "../common/dom.js";
import { pluralise } from "../common/format.js";
import { actionButton, card, figures, formatShare, heading, taskStatus, timeAgo } from "./parts.js";

/** @import { Act, State } from "./operations.js" */

const SHOWN = 8;
const BESIDE = 4;
const FIRST =
  "A report uses some of your pictures as queries, and measures how many of the nearest pictures a search finds, and how often they have the same label.";

/**
 * @param {State} state
 * @param {Act} act
 */
export function qualityCard({ session, report, tasks, stats }, act) {
  const task = tasks.find(({ kind }) => kind === "report");
  const admin = session.scopes.includes("admin");
  const idle = tasks.every(({ state }) => state !== "running");
  if (!report && !admin && !task) return null;
  return card([admin, report, task, idle], () => {
    const text = report ? "Measure again" : "Measure search quality";
    const start = actionButton(text, "report", () => act("tasks/report"), report ? "secondary" : "primary");
    const again = admin && idle ? [start] : [];
    return [
      heading("quality", "Search quality", ...(report ? [el("span", { className: "row" }, fullReport(), ...again)] : [])),
      ...(report ? summary(report, stats.images) : [el("p", {}, FIRST), el("p", {}, ...again)]),
      ...(task && (task.state === "running" || task.state === "failed") ? taskStatus(task, act, admin) : []),
      ...(report?.labels.length ? labels(report.labels) : []),
      ...(report?.suspects.length ? suspects(report.suspects) : []),
    ];
  });
}

function fullReport() {
  return el("a", { className: "link", href: new URL("report", BASE).href }, "Full report");
}

/**
 * @param {any} report
 * @param {number} images
 */
function summary(report, images) {
  const { precision, recall, k, pool, recommended_pool: recommended, written_at: written } = report;
  const old = report.images === images ? "" : `, of ${report.images.toLocaleString("en")} pictures`;
  return [
    figures([
      ...(precision === null ? [] : [/** @type {[string, string]} */ (["Results with the same label", formatShare(precision)])]),
      [`Of the ${k} nearest are found`, formatShare(recall)],
      ["Candidates", pool.toLocaleString("en")],
      ["Recommended", recommended.toLocaleString("en")],
      ["Measured", `${timeAgo(written)}${old}`],
    ]),
  ];
}

/** @param {any[]} all */
function labels(all) {
  // A picture that is alone in its label finds no other.
  const worst = all.filter(({ precision, images }) => precision !== null && images > 1);
  const list = el("ol", { className: "labels" }, ...worst.slice(0, SHOWN).map(label));
  return worst.length ? [el("h3", {}, "Labels that searches confuse most"), list] : [];
}

/** @param {any[]} all */
function suspects(all) {
  const list = el("ol", { className: "labels" }, ...all.slice(0, SHOWN).map(suspect));
  return [el("h3", {}, "Pictures whose label is probably wrong"), list];
}

/** @param {any} suspect */
function suspect({ id, label: name, suggested, votes, neighbours }) {
  const of = `${votes} of the ${neighbours.length} nearest pictures have the label ${suggested}, none has ${name}`;
  const links = [id, ...neighbours.slice(0, BESIDE)].map((/** @type {number} */ one) => example(one, one === id ? name : suggested));
  return el(
    "li",
    {},
    el("div", {}, el("strong", {}, `${name} → ${suggested}`), el("span", { className: "hint" }, of)),
    el("div", { className: "examples" }, ...links),
  );
}

/** @param {any} label */
function label({ label: name, images, precision, examples }) {
  const meter = el("meter", { value: precision, min: 0, max: 1, ariaLabel: `Results with the label ${name}` });
  const of = `${formatShare(precision)} of results have the label too · ${pluralise(images, "picture")}`;
  const links = examples.map((/** @type {number} */ id) => example(id, name));
  return el(
    "li",
    {},
    el("div", {}, el("strong", {}, name), meter, el("span", { className: "hint" }, of)),
    el("div", { className: "examples" }, ...links),
  );
}

/**
 * @param {number} id
 * @param {string} name
 */
function example(id, name) {
  const thumbnail = new URL(`images/${id}/thumbnail`, BASE).href;
  const picture = image(thumbnail, `Search with picture ${id}, ${name}`, { loading: "lazy" });
  return el("a", { href: new URL(`?id=${id}`, BASE).href }, picture);
}
