/** Card: the model and its codes, with buttons to fit codes and to move to another model. */

import { jsonBody } from "../api/fetch.js";
import { el } from "../common/dom.js";
import { progressBar } from "../common/progress-bar.js";
import { actionButton, badge, card, confirmButton, figures, formatShare, heading, taskStatus } from "./parts.js";

/** @import { Act, State, Task } from "./operations.js" */

const REINDEX =
  "Every picture is encoded again, which takes about 20 milliseconds of a core each. Searches go on meanwhile, and the catalogue switches at the end.";

/**
 * @param {State} state
 * @param {Act} act
 */
export function modelCard({ session, stats, tasks, models }, act) {
  const admin = session.scopes.includes("admin");
  const { model, adaptation, better_model: better, reindexing } = stats;
  return card([admin, model, adaptation, better, reindexing, tasks, models], () => {
    const [adapt, reindex] = ["adapt", "reindex"].map((kind) => tasks.find((task) => task.kind === kind));
    const running = tasks.some(({ state }) => state === "running");
    const byCommand = reindexing && !running ? [progressBar("a command is encoding", reindexing.processed, reindexing.total)] : [];
    return [
      heading("model", "Model", badge(model.adapted ? "Adapted codes" : "The model's codes", "plain")),
      figures([
        ["Name", model.name],
        ["Index version", el("code", {}, model.fingerprint)],
        ["Code", `${model.bits} bits`],
        ["Candidates", model.pool.toLocaleString("en")],
        ...recallFigures(adaptation),
      ]),
      ...(better ? [el("p", { className: "notice" }, `The model ${better.name} replaces it. ${better.gain}`)] : []),
      ...byCommand,
      ...(admin && !running ? [controls(models, better, stats.images, act)] : []),
      ...latestFirst([adapt, reindex]).flatMap((task) => taskStatus(task, act, admin)),
    ];
  });
}

/** @param {any} adaptation */
function recallFigures(adaptation) {
  if (!adaptation) return [];
  const { before, after, outcome } = adaptation;
  const kept = outcome === "adapted" ? "" : ", not used";
  return /** @type {[string, string][]} */ ([
    ["Codes alone find", `${formatShare(before.codes)} → ${formatShare(after.codes)}${kept}`],
    ["Candidates hold", `${formatShare(before.recall)} of ${before.pool} → ${formatShare(after.recall)} of ${after.pool}`],
  ]);
}

/**
 * @param {any[]} models
 * @param {any} better
 * @param {number} images
 * @param {Act} act
 */
function controls(models, better, images, act) {
  const select = el("select", { ariaLabel: "Model" });
  for (const { name, bits, classes } of models)
    select.append(el("option", { value: name }, `${name} (${bits} bits${classes ? `, ${classes} labels` : ""})`));
  const first = better?.name ?? models.find(({ active }) => active)?.name;
  if (first) select.value = first;
  select.dataset.key = "reindex-model";
  const reindex = confirmButton("Reindex", "reindex", "Move the catalogue to this model?", REINDEX, () =>
    act("tasks/reindex", { method: "POST", ...jsonBody({ model: select.value }) }),
  );
  const adapt = actionButton("Adapt the codes", "adapt", () => act("tasks/adapt"));
  return el(
    "div",
    { className: "tasks" },
    el("p", {}, adapt, hint("Fits codes to these pictures, in minutes.")),
    el("p", {}, select, reindex, hint(images ? "Encodes all pictures with another model." : "")),
  );
}

/** @param {string} text */
function hint(text) {
  return el("span", { className: "hint" }, text);
}

/** @param {(Task | undefined)[]} tasks */
function latestFirst(tasks) {
  return tasks.filter((task) => task !== undefined);
}
