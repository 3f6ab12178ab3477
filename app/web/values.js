/**
 * Values of the metadata as a person types them: what reads as a number, as true or false, or as a list is one, and
 * everything else is text. Quotes make text of what would not be.
 */

/**
 * @param {unknown} value
 * @returns {string} what `readValue` reads as the same value
 */
export function writeValue(value) {
  return typeof value === "string" && readValue(value) === value ? value : JSON.stringify(value);
}

/**
 * @param {string} text
 * @returns {unknown}
 */
export function readValue(text) {
  try {
    const value = JSON.parse(text);
    return value === null || isRounded(value) ? text : value;
  } catch {
    return text;
  }
}

/**
 * Numbers with more digits than a computer keeps are somebody's article numbers.
 *
 * @param {unknown} value
 */
function isRounded(value) {
  return typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER;
}
