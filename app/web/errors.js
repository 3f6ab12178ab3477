/** A failure that a person should read of: its message is a whole sentence. Any other error is a bug. */
export class ReadableError extends Error {}

/** An error response: its status, and the code of the service's error, which is empty where something else answered. */
export class Refusal extends ReadableError {
  /**
   * @param {string} sentence
   * @param {number} status
   * @param {string} code
   */
  constructor(sentence, status, code) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}
