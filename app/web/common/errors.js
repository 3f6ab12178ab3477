/** An error whose message is a sentence for the user. Any other error is a bug. */
export class UserError extends Error {}

/** An error response: its status and the service's error code, which is empty if something else responded. */
export class HttpError extends UserError {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string} code
   */
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
