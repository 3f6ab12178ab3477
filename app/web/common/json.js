/**
 * Parse and serialise JSON without changing whole numbers: those beyond the safe range of a double become BigInt.
 *
 * They are passed through `JSON` as strings that begin with a NUL, which the service neither stores nor sends.
 */

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const WHOLE = /^-?\d+$/;
const MARKED = /^\u0000-?\d+$/;
const MARKED_IN_JSON = /"\\u0000(-?\d+)"/g;

/**
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} the text is not JSON
 */
export function parseJson(text) {
  const value = JSON.parse(text);
  const marked = text.replace(TOKEN, (token) => (isUnsafe(token) ? `"\\u0000${token}"` : token));
  if (marked === text) return value;
  return JSON.parse(marked, (_, part) =>
    typeof part === "string" && MARKED.test(part) ? BigInt(part.slice(1)) : part,
  );
}

/**
 * @param {unknown} value may contain BigInt
 * @returns {string}
 */
export function stringifyJson(value) {
  const marked = JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `\u0000${part}` : part));
  return marked.replace(MARKED_IN_JSON, "$1");
}

/**
 * @param {string} text of a number
 * @returns {number | bigint}
 */
export function parseNumber(text) {
  return isUnsafe(text) ? BigInt(text) : Number(text);
}

/** @param {string} token */
function isUnsafe(token) {
  return WHOLE.test(token) && !Number.isSafeInteger(Number(token));
}
