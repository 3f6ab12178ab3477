/** A search as a program: for curl, for the Python client, and for JavaScript with Node. */

import { BASE } from "../common/base-url.js";
import { button, el } from "../common/dom.js";
import { parseJson, stringifyJson } from "../common/json.js";

/**
 * @typedef {object} SnippetRequest a search as the page sends it
 * @property {string[]} [files] names of the uploaded files to find
 * @property {string[]} [unlikeFiles] names of the uploaded files to avoid
 * @property {(number | string)[]} [like] ids of pictures to find
 * @property {(number | string)[]} [unlike] ids of pictures to avoid
 * @property {boolean} [listed] whether it lists what words and filters find, without a picture to compare with
 * @property {URLSearchParams} parameters of the API request
 * @property {boolean} [needsKey] whether the service requires an API key
 */

/** @typedef {{url: string, form: [string, string][], json: string | null}} Call a request's URL and body */

const KEY = "LOOKALIKE_API_KEY";
const COPIED = "Copied.";
const NOT_COPIED = "The browser does not allow copying here. Select the text and copy it.";
// Parameters that are not text in Python.
const NUMBERS = new Set(["k", "pool", "radius", "min_similarity"]);
const BOOLEANS = new Set(["asymmetric", "explain"]);
const NAMES = { curl: curlSnippet, Python: pythonSnippet, JavaScript: javascriptSnippet };

/**
 * Create buttons that copy a search as a program, and show it.
 *
 * @param {SnippetRequest} request
 * @returns {HTMLElement}
 */
export function snippetButtons(request) {
  const code = el("pre", { hidden: true, tabIndex: 0, ariaLabel: "Program" });
  const status = el("span", { className: "hint", role: "status" });
  const buttons = Object.entries(NAMES).map(([name, write]) =>
    button(name, () => copy(write(request)), { className: "link", ariaLabel: `Copy as ${name}` }),
  );
  const copy = async (/** @type {string} */ text) => {
    Object.assign(code, { hidden: false, textContent: text });
    status.textContent = (await copyText(text)) ? COPIED : NOT_COPIED;
  };
  return el(
    "div",
    { className: "snippets" },
    el("p", { className: "controls" }, el("span", {}, "Copy as"), ...buttons, status),
    code,
  );
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} whether it was copied; browsers allow it over HTTPS and on localhost only
 */
export async function copyText(text) {
  return (await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  )) === true;
}

/** @param {SnippetRequest} request */
export function curlSnippet(request) {
  const { url, form, json } = callOf(request);
  const key = request.needsKey ? [`-H "Authorization: Bearer $${KEY}"`] : [];
  const fields = form.map(([name, file]) => `-F ${shellText(`${name}=@"${relative(file).replace(/["\\]/g, "\\$&")}"`)}`);
  const texts = json === null ? [] : textFields(request).map(([name, id]) => `-F ${name}=${id}`);
  const body = form.length ? [...fields, ...texts] : jsonArguments(json);
  return ["curl", ...key, ...body, shellText(url)].join(" ");
}

/** @param {SnippetRequest} request */
export function pythonSnippet(request) {
  const { files = [], unlikeFiles = [], like = [], unlike = [], listed = false, parameters, needsKey = false } = request;
  const [image, ...others] = files;
  const only = singleId(request);
  const examples = [...others.map(pythonPath), ...like.map(String)];
  const avoided = [...unlikeFiles.map(pythonPath), ...unlike.map(String)];
  const given = [
    ...(only ? [only] : image === undefined ? [] : [JSON.stringify(image)]),
    ...(examples.length && !only ? [`like=[${examples.join(", ")}]`] : []),
    ...(avoided.length ? [`unlike=[${avoided.join(", ")}]`] : []),
    ...[...parameters].map(([name, value]) => `${name}=${pythonParameter(name, value)}`),
  ];
  const key = needsKey ? `, key=os.environ["${KEY}"]` : "";
  return [
    ...(needsKey ? ["import os"] : []),
    ...(others.length || unlikeFiles.length ? ["from pathlib import Path"] : []),
    ...(needsKey || others.length || unlikeFiles.length ? [""] : []),
    "from lookalike_client import Lookalike",
    "",
    `with Lookalike(${JSON.stringify(baseUrl())}${key}) as catalogue:`,
    ...(listed ? pythonListing(given) : pythonMatches(only ? "similar" : "search", given)),
    "",
  ].join("\n");
}

/** @param {string[]} given arguments */
function pythonListing(given) {
  return [`    for image in catalogue.list(${given.join(", ")}):`, "        print(image.id, image.key, image.label)"];
}

/**
 * @param {"search" | "similar"} method
 * @param {string[]} given arguments
 */
function pythonMatches(method, given) {
  return [
    `    found = catalogue.${method}(${given.join(", ")})`,
    "    for match in found.matches:",
    "        print(match.similarity, match.key, match.label)",
  ];
}

/** @param {SnippetRequest} request */
export function javascriptSnippet(request) {
  const { url, form, json } = callOf(request);
  const headers = [
    ...(form.length || json === null ? [] : ['"Content-Type": "application/json"']),
    ...(request.needsKey ? [`Authorization: \`Bearer \${process.env.${KEY}}\``] : []),
  ];
  const options = [
    ...(form.length || json !== null ? ['method: "POST"'] : []),
    ...(headers.length ? [`headers: { ${headers.join(", ")} }`] : []),
    ...(form.length ? ["body: form"] : json === null ? [] : [`body: JSON.stringify(${json})`]),
  ];
  const fields = [
    ...form.map(([name, file]) => {
      const text = JSON.stringify(file);
      return `form.append("${name}", await openAsBlob(${text}), ${text});`;
    }),
    ...textFields(request).map(([name, id]) => `form.append("${name}", "${id}");`),
  ];
  return [
    ...(form.length ? ['import { openAsBlob } from "node:fs";', "", "const form = new FormData();", ...fields] : []),
    `const answer = await fetch(${JSON.stringify(url)}${options.length ? `, { ${options.join(", ")} }` : ""});`,
    "const found = await answer.json();",
    "if (!answer.ok) throw new Error(found.detail);",
    request.listed
      ? "for (const image of found.items) console.log(image.id, image.key, image.label);"
      : "for (const match of found.results) console.log(match.similarity, match.key, match.label);",
    "",
  ].join("\n");
}

/**
 * @param {SnippetRequest} request
 * @returns {Call}
 */
function callOf(request) {
  const { files = [], unlikeFiles = [], like = [], unlike = [], listed = false, parameters } = request;
  const only = singleId(request);
  const query = parameters.toString();
  const path = listed ? "images" : only ? `images/${only}/similar` : "search";
  const examples = unlike.length ? { like: like.map(Number), unlike: unlike.map(Number) } : { like: like.map(Number) };
  return {
    url: `${BASE.href}${path}${query && "?"}${query}`,
    form: [...pairs("image", files), ...pairs("unlike_image", unlikeFiles)],
    json: only || !(like.length || unlike.length) ? null : JSON.stringify(examples),
  };
}

/**
 * @param {SnippetRequest} request
 * @returns {string | null} the id of a search with one picture of the catalogue
 */
function singleId({ files = [], unlikeFiles = [], like = [], unlike = [] }) {
  return like.length === 1 && !files.length && !unlikeFiles.length && !unlike.length ? String(like[0]) : null;
}

/** @param {SnippetRequest} request */
function textFields({ like = [], unlike = [] }) {
  return [...pairs("like", like.map(String)), ...pairs("unlike", unlike.map(String))];
}

/** @param {string | null} json */
function jsonArguments(json) {
  return json === null ? [] : ["-H 'Content-Type: application/json'", `-d ${shellText(json)}`];
}

/**
 * @param {string} name
 * @param {string[]} values
 * @returns {[string, string][]}
 */
function pairs(name, values) {
  return values.map((value) => [name, value]);
}

/** @param {string} text */
function shellText(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * For curl, `-` would be the standard input.
 *
 * @param {string} file
 */
function relative(file) {
  return file.startsWith("-") ? `./${file}` : file;
}

/** @param {string} file */
function pythonPath(file) {
  return `Path(${JSON.stringify(file)})`;
}

/**
 * @param {string} name
 * @param {string} value
 */
function pythonParameter(name, value) {
  if (name === "filter") return pythonLiteral(parseJson(value));
  if (name === "crop") return `(${value.replaceAll(",", ", ")})`;
  if (NUMBERS.has(name)) return value;
  return BOOLEANS.has(name) ? pythonLiteral(value === "true") : JSON.stringify(value);
}

/**
 * @param {unknown} value of any JSON type
 * @returns {string}
 */
function pythonLiteral(value) {
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return stringifyJson(value);
  return `{${Object.entries(value).map((pair) => pair.map(pythonLiteral).join(": ")).join(", ")}}`;
}

function baseUrl() {
  return BASE.href.replace(/\/$/, "");
}
