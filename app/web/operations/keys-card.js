/** Card: API keys, when they were last used; create and delete them. A new key is shown once. */

import { jsonBody } from "../api/fetch.js";
import { openSession } from "../api/session.js";
import { openDialog, openForm } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { copyText } from "../snippets/snippets.js";
import { card, confirmButton, heading, timeAgo } from "./parts.js";

/** @import { Act, State } from "./operations.js" */

const SCOPES = /** @type {const} */ ({
  search: "search and read",
  write: "add, change and delete pictures",
  admin: "everything, also keys and this page's tasks",
});
const NONE = "There are no keys: every program on this machine may do everything, and nothing else may.";
const FIRST = "From the first key on, every request needs one. This page continues with the new key.";
const LAST = "It is the only key. Without keys, only programs on this machine may use the service.";

/**
 * @param {State} state
 * @param {Act} act
 */
export function keysCard({ session, keys }, act) {
  if (!session.scopes.includes("admin")) return null;
  return card([session, keys], () => {
    const create = button("Create a key", () => openCreate(keys.length === 0, act), { className: "secondary" });
    create.dataset.key = "create-key";
    const items = keys.map((key) => keyItem(key, session.key, keys.length === 1, act));
    return [
      heading("keys", "API keys", create),
      keys.length ? el("ul", { className: "keys" }, ...items) : el("p", { className: "hint" }, NONE),
    ];
  });
}

/**
 * @param {any} key
 * @param {string | null} own name of this page's key
 * @param {boolean} last
 * @param {Act} act
 */
function keyItem({ id, name, scopes, created_at: created, last_used_at: used }, own, last, act) {
  const remove = () => act(`keys/${id}`, { method: "DELETE" });
  const explanation = last ? LAST : "Programs that use it are refused within a second.";
  const control = confirmButton("Delete", `key-${id}`, `Delete the key “${name}”?`, explanation, remove, "link danger");
  control.ariaLabel = `Delete the key ${name}`;
  const times = `created ${timeAgo(created)}, ${used ? `last used ${timeAgo(used)}` : "never used"}`;
  return el(
    "li",
    {},
    el("div", {}, el("strong", {}, name), name === own ? " (this page)" : "", el("span", { className: "hint" }, `${scopes.join(", ")} · ${times}`)),
    control,
  );
}

/**
 * @param {boolean} first
 * @param {Act} act
 */
function openCreate(first, act) {
  const name = el("input", { id: "key-name", required: true, maxLength: 100, autocomplete: "off", spellcheck: false });
  const boxes = Object.entries(SCOPES).map(([scope, meaning]) => {
    const box = el("input", { type: "checkbox", name: "scope", value: scope, checked: scope === (first ? "admin" : "search") });
    return el("label", { className: "scope" }, box, el("strong", {}, scope), ` ${meaning}`);
  });
  const fields = el(
    "div",
    { className: "form" },
    ...(first ? [el("p", { className: "hint" }, FIRST)] : []),
    el("label", { htmlFor: name.id }, "Name"),
    name,
    el("fieldset", {}, el("legend", {}, "It may"), ...boxes),
  );
  openForm("Create a key", "", fields, "Create", async () => {
    const scopes = boxes.flatMap((label) => [...label.querySelectorAll("input")]).filter(({ checked }) => checked);
    const body = jsonBody({ name: name.value.trim(), scopes: scopes.map(({ value }) => value) });
    // Without the first key, this page could not go on.
    const open = first ? (/** @type {any} */ { key }) => openSession(key) : undefined;
    const created = await act("keys", { method: "POST", ...body }, open);
    showKey(created.name, created.key);
  });
}

/**
 * @param {string} name
 * @param {string} key
 */
function showKey(name, key) {
  const status = el("span", { className: "hint", role: "status" });
  const copy = async () => {
    status.textContent = (await copyText(key)) ? "Copied." : "Select the key and copy it.";
  };
  openDialog(
    `The key “${name}”`,
    "",
    el("p", {}, "Copy it now: it is not shown again."),
    el("pre", { className: "new-key", tabIndex: 0, ariaLabel: "API key" }, key),
    el("p", { className: "controls" }, button("Copy", copy, { className: "primary" }), status),
  );
}
