/** A failure that a person should read of: its message is a whole sentence. Any other error is a bug. */
export class ReadableError extends Error {}

/** What the service refused, with the HTTP status that says why. */
export class Refusal extends ReadableError {
  /**
   * @param {string} sentence
   * @param {number} status
   */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}
