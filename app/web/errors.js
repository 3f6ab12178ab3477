/** A failure that a person should read of: its message is a whole sentence. Any other error is a bug. */
export class ReadableError extends Error {}
