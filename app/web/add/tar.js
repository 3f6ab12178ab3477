/**
 * Write a tar archive. The browser reads the files only while the archive is sent. Independent of the DOM.
 *
 * The format is POSIX.1-2001 (pax): names that a header cannot hold are in an extended header before it.
 */

const BLOCK = 512;
const MAX_NAME = 100; // bytes
const ASCII = /^[\x20-\x7e]*$/;
const encoder = new TextEncoder();

/**
 * @param {{path: string, file: Blob}[]} entries
 * @returns {Blob}
 */
export function tar(entries) {
  const parts = entries.flatMap(({ path, file }) => {
    const fits = ASCII.test(path) && path.length <= MAX_NAME;
    return [...(fits ? [] : extendedHeader(path)), header(fits ? path : "file", file.size, "0"), file, padding(file.size)];
  });
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: "application/x-tar" });
}

/** @param {string} path */
function extendedHeader(path) {
  const content = encoder.encode(record("path", path));
  return [header("pax", content.length, "x"), content, padding(content.length)];
}

/**
 * Return a record "LENGTH NAME=VALUE\n", whose length in bytes includes its own digits.
 *
 * @param {string} name
 * @param {string} value
 */
function record(name, value) {
  const rest = ` ${name}=${value}\n`;
  const bytes = encoder.encode(rest).length;
  let length = bytes + String(bytes).length;
  length = bytes + String(length).length;
  return `${length}${rest}`;
}

/**
 * @param {string} name ASCII, at most 100 characters
 * @param {number} size in bytes
 * @param {string} type of the entry
 */
function header(name, size, type) {
  const block = new Uint8Array(BLOCK);
  const write = (/** @type {number} */ offset, /** @type {string} */ text) => block.set(encoder.encode(text), offset);
  write(0, name);
  write(100, "0000644\0");
  write(108, "0000000\0");
  write(116, "0000000\0");
  write(124, `${size.toString(8).padStart(11, "0")}\0`);
  write(136, "00000000000\0");
  write(148, "        "); // the checksum counts its own field as spaces
  write(156, type);
  write(257, "ustar\x0000");
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  write(148, `${checksum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** @param {number} size */
function padding(size) {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}
