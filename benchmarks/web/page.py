"""Measure how quickly the page of a running service shows something, in Chromium.

    make serve
    python -m benchmarks.web.page http://127.0.0.1:8000

Prints, for the browser at full speed and with the CPU slowed down four times:

- first paint: from the request of the start page to its first content on the screen, with an empty browser cache;
- results: from the last byte of the response to a search with an upload to the end of the frame that shows its
  first results;
- shift: the layout shift of the start page (Cumulative Layout Shift; 0 is none).

Needs the development dependencies and Chromium.
"""

import argparse
import io
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Sums up layout shifts, and records the frame in which a search first has results.
OBSERVE = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) window.shift += value;
}).observe({ type: "layout-shift", buffered: true });
window.watch = () => {
  window.shown = null;
  let next = null; // the start of the frame after the one that shows results
  const look = (now) => {
    const done = document.body.dataset.view === "search" && !document.body.classList.contains("busy");
    if (done) next ??= looked ? now : null;
    looked = done;
    // Chromium adds the entry some time after the response.
    const answer = performance.getEntriesByType("resource").find(({ name }) => name.includes("/search?"));
    if (next && answer?.responseEnd) window.shown = next - answer.responseEnd;
    else requestAnimationFrame(look);
  };
  let looked = false;
  requestAnimationFrame(look);
};
"""
FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Measure and print."""
    options = arguments()
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise SystemExit(f"No browser: install one of {', '.join(BROWSERS)}.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for slowdown in (1, 4):
            runs = [measure(browser, options.url, slowdown) for _ in range(options.runs)]
            paint, results, shift = zip(*runs, strict=True)
            print(f"{slowdown} x CPU  first paint {summary(paint)}  results {summary(results)}  shift {max(shift):.4f}")
        browser.close()


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("url", help="URL of the service")
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


def measure(browser: Browser, url: str, slowdown: int) -> tuple[float, float, float]:
    """Return first paint and results in milliseconds, and the layout shift."""
    with new_page(browser, slowdown) as page:
        page.goto(url)
        page.wait_for_function(FIRST_PAINT)
        paint = float(page.evaluate(FIRST_PAINT))
        page.locator(".tile img").first.wait_for()
        page.wait_for_load_state("networkidle")
        shift = float(page.evaluate("window.shift"))
        page.evaluate("watch()")
        page.set_input_files("#file", {"name": "query.jpg", "mimeType": "image/jpeg", "buffer": picture()})
        page.wait_for_function("() => window.shown !== null")
        return paint, float(page.evaluate("window.shown")), shift


@contextmanager
def new_page(browser: Browser, slowdown: int) -> Iterator[Page]:
    """Open a page in a browser without cache."""
    with browser.new_context(viewport={"width": 1280, "height": 720}) as context:
        context.add_init_script(OBSERVE)
        page = context.new_page()
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        yield page


def picture() -> bytes:
    """Return a JPEG of 640 × 480 pixels."""
    data = io.BytesIO()
    Image.effect_noise((640, 480), 60).convert("RGB").save(data, "JPEG")
    return data.getvalue()


def summary(milliseconds: tuple[float, ...]) -> str:
    """Return minimum and median."""
    return f"min {min(milliseconds):.0f} median {statistics.median(milliseconds):.0f} ms"


if __name__ == "__main__":
    main()
