/** Send a request and report how much of its body is sent, which `fetch` cannot. */

/**
 * @param {URL} url
 * @param {RequestInit} init
 * @param {(sent: number) => void} onProgress gets the share of the body that is sent, 0 to 1
 * @returns {Promise<Response>}
 */
export function upload(url, { method = "POST", headers, body, signal }, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of new Headers(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(total ? loaded / total : 0));
    request.addEventListener("load", () => resolve(new Response(request.response, { status: request.status })));
    request.addEventListener("error", () => reject(new TypeError("The request failed.")));
    request.addEventListener("abort", () => reject(signal?.reason));
    signal?.addEventListener("abort", () => request.abort());
    request.send(/** @type {XMLHttpRequestBodyInit} */ (body));
  });
}
