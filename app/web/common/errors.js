/** An error whose message is a sentence for the user. Any other error is a bug. */
export class UserError extends Error {}

/** An error response: its status and the service's error code, which is empty if something else responded. */
export class HttpError extends UserError {
  /**
   * @param {string} message
   * @param {number} status
   * @param {string} code
   * @param {{field: string, reason: string}[]} [fields] what is wrong with parameters and form fields
   */
  constructor(message, status, code, fields = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
