/**
 * Parse and format metadata values as text.
 *
 * Text that is valid JSON becomes a number, boolean, list or object; anything else is a string. Quotes force a string.
 */

/**
 * @param {unknown} value
 * @returns {string} text that `parseValue` converts back to the value
 */
export function formatValue(value) {
  return typeof value === "string" && parseValue(value) === value ? value : JSON.stringify(value);
}

/**
 * @param {string} text
 * @returns {unknown}
 */
export function parseValue(text) {
  try {
    const value = JSON.parse(text);
    return value === null || losesPrecision(value) ? text : value;
  } catch {
    return text;
  }
}

/**
 * Return whether a number is too large for a double, as long article numbers are; these stay text.
 *
 * @param {unknown} value
 */
function losesPrecision(value) {
  return typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER;
}
