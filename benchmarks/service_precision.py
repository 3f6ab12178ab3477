"""Measure precision@k of a running service: images of one labelled folder search among those of another.

    lookalike serve --data-dir /tmp/precision --port 8100       (with LOOKALIKE_DEMO=off)
    python -m benchmarks.service_precision http://127.0.0.1:8100 DIR/train DIR/test

It adds the first folder to the catalogue (existing images are kept), searches with every image of the second in each
mode, and prints the share of results with the query's label, and the time of a search. It uses the HTTP API only.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import httpx

MODES = ("hds", "bcs", "es")
BATCH = 50


def main() -> None:
    """Index, search and print."""
    options = arguments()
    with httpx.Client(base_url=options.url, timeout=300) as client:
        index(client, options.catalogue)
        for mode in MODES:
            precision, milliseconds = measure(client, options.queries, mode, options.k)
            print(f"{mode}  precision@{options.k} {precision:.4f}  search {milliseconds:.1f} ms (median, server's own)")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("url", help="URL of the service")
    parser.add_argument("catalogue", type=Path, help="labelled folder for the catalogue")
    parser.add_argument("queries", type=Path, help="labelled folder of queries")
    parser.add_argument("-k", type=int, default=10)
    return parser.parse_args()


def index(client: httpx.Client, folder: Path) -> None:
    """Add the images of a labelled folder to the catalogue."""
    paths, started = sorted(folder.glob("*/*")), time.perf_counter()
    for first in range(0, len(paths), BATCH):
        some = paths[first : first + BATCH]
        about = [{"key": path.relative_to(folder).as_posix(), "label": path.parent.name} for path in some]
        files = [("images", (path.name, path.read_bytes())) for path in some]
        client.post("/index", data={"metadata": json.dumps(about)}, files=files).raise_for_status()
    seconds = time.perf_counter() - started
    print(f"{len(paths)} images indexed in {seconds:.1f} s, {len(paths) / seconds:.0f} per second")


def measure(client: httpx.Client, folder: Path, mode: str, k: int) -> tuple[float, float]:
    """Return the mean precision@k over all images of a folder, and the median milliseconds of a search."""
    shares, times = [], []
    for path in sorted(folder.glob("*/*")):
        answer = client.post("/search", params={"mode": mode, "k": k}, files={"image": path.read_bytes()})
        found = answer.raise_for_status().json()
        shares.append(sum(result["label"] == path.parent.name for result in found["results"]) / k)
        times.append(found["timings_ms"]["total"])
    return statistics.mean(shares), statistics.median(times)


if __name__ == "__main__":
    main()
