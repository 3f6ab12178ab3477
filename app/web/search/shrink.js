/** Shrink an upload in the browser, so that a search does not wait for a slow line. */

const MAX_SIDE = 1024;
const QUALITY = 0.92;
const TAIL_BYTES = 4096;
/** The last bytes of complete files, by media type. @type {Record<string, string>} */
const ENDS = { "image/jpeg": "\u00ff\u00d9", "image/png": "IEND" };

/** @typedef {{blob: Blob, size: {width: number, height: number} | null}} Shrunk upright size; null if not known */

/**
 * Return a picture with sides of at most 1,024 pixels, as an upright JPEG on white.
 *
 * Smaller pictures stay as they are, and those that the browser cannot decode or that are cut off: the service has the
 * better decoder and names what is wrong.
 *
 * @param {File} file
 * @returns {Promise<Shrunk>}
 */
export async function shrunk(file) {
  try {
    if (!(await isComplete(file))) return { blob: file, size: null };
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = MAX_SIDE / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1) return { blob: file, size: { width: bitmap.width, height: bitmap.height } };
    return await toJpeg(bitmap, scale);
  } catch {
    return { blob: file, size: null };
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @param {number} scale
 * @returns {Promise<Shrunk>}
 */
async function toJpeg(bitmap, scale) {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "white"; // as the service does below transparent pixels
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  return { blob, size: { width, height } };
}

/**
 * Browsers decode the beginning of a file that is cut off without an error.
 *
 * @param {File} file
 */
async function isComplete(file) {
  const end = ENDS[file.type];
  if (!end) return true;
  const tail = await file.slice(-TAIL_BYTES).arrayBuffer();
  return new TextDecoder("latin1").decode(tail).includes(end);
}
