/** Entry point of the API docs: a card with a first search, and Swagger UI below it. */

import { fetchResponse } from "../api/fetch.js";
import { requestJson } from "../api/request.js";
import { BASE } from "../common/base-url.js";
import { byId, el, image } from "../common/dom.js";
import { UserError } from "../common/errors.js";
import { copyText, curlSnippet } from "../snippets/snippets.js";

const SHOWN = 6;
const EXAMPLE = "photo.jpg";

/** @type {any} */
const { SwaggerUIBundle, matchMedia } = window;

function start() {
  followColourScheme();
  SwaggerUIBundle({
    url: new URL("openapi.json", BASE).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    showExtensions: true,
    showCommonExtensions: true,
    presets: [SwaggerUIBundle.presets.apis],
  });
  const input = /** @type {HTMLInputElement} */ (byId("file"));
  byId("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => input.files?.[0] && search(input.files[0]));
  byId("copy").addEventListener("click", copy);
  showCommand(EXAMPLE);
}

/** Swagger UI has dark colours, for pages with this class. */
function followColourScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", apply);
  apply();
}

/** @param {File} file */
async function search(file) {
  byId("message").textContent = "";
  const body = new FormData();
  body.append("image", file);
  try {
    const { results } = await requestJson(`search?k=${SHOWN}`, { method: "POST", body });
    byId("found").replaceChildren(...results.map(result));
    if (!results.length) byId("message").textContent = "The catalogue is empty. Add pictures with POST /index.";
    await showCommand(file.name);
  } catch (error) {
    byId("found").replaceChildren();
    byId("message").textContent = error instanceof UserError ? error.message : String(error);
  }
}

/** @param {{id: number, key: string, label: string | null, thumbnail_url: string}} match */
function result({ id, key, label, thumbnail_url: thumbnail }) {
  const link = el("a", { href: new URL(`?id=${id}`, BASE).href }, image(thumbnail, ""), el("span", {}, label || key));
  return el("li", {}, link);
}

/**
 * Show the command that searches with a file.
 *
 * @param {string} file
 */
async function showCommand(file) {
  const session = await fetchResponse("session", {}).then((response) => response.json()).catch(() => ({}));
  const parameters = new URLSearchParams({ k: String(SHOWN) });
  byId("curl").textContent = curlSnippet({ files: [file], parameters, needsKey: session.key_required });
}

async function copy() {
  const copied = await copyText(byId("curl").textContent ?? "");
  byId("copied").textContent = copied ? "Copied." : "Select the command and copy it.";
}

start();
