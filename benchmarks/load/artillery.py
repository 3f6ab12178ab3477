"""Generate load with Artillery: requests start at a constant rate, whether or not earlier ones were answered.

Such an open loop shows how long a user waits at a given number of searches a second. Clients that wait for a response
before the next request slow down with the service, and leave out the waiting that they cause.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.errors import LookalikeError

VERSION = "2.0.20"
# Artillery can also drive browsers, of which the installation would download one; and its command fails beside the
# TypeScript 7 that npm would choose.
INSTALL = (
    f"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --prefix ~/artillery artillery@{VERSION} typescript@5; "
    "export PATH=~/artillery/node_modules/.bin:$PATH"
)
# Artillery's own process needs time to start and to write its report; slow responses end after the last request.
_OVERHEAD_S, _TIMEOUT_S = 120, 30
_PROCESSOR = """\
const { readdirSync, readFileSync } = require("node:fs");
const folder = process.env.LOAD_BODIES;
const bodies = readdirSync(folder).sort().map((name) => readFileSync(`${folder}/${name}`));
let turn = 0;
module.exports.nextImage = (request, context, events, done) => {
  request.body = bodies[turn++ % bodies.length];
  done();
};
"""


@dataclass(frozen=True)
class LoadResult:
    """What Artillery measured at one rate.

    Attributes:
        sent: number of requests.
        responses: number of responses by status.
        errors: number of requests without a response, by kind.
        p50: milliseconds from a request to its response, median over all responses; None without a response.
        p95: 95th percentile.
        p99: 99th percentile.
    """

    sent: int
    responses: Mapping[int, int]
    errors: Mapping[str, int]
    p50: float | None
    p95: float | None
    p99: float | None


def find_artillery() -> str:
    """Return the path of Artillery's command.

    Raises:
        LookalikeError: it is not installed.
    """
    found = shutil.which("artillery")
    if found is None:
        raise LookalikeError(f"The load test needs Artillery, which generates the requests: {INSTALL}")
    return found


def generate(url: str, images: Sequence[bytes], rate: int, seconds: int, key: str | None = None) -> LoadResult:
    """Search a service with images in turn, as raw bodies of `POST /search`.

    Args:
        url: address of the service.
        images: JPEG files.
        rate: requests a second, evenly spaced.
        seconds: how long.
        key: API key.

    Raises:
        LookalikeError: Artillery is not installed, or failed.
    """
    command = find_artillery()
    with TemporaryDirectory() as name:
        folder = Path(name)
        bodies, report = folder / "bodies", folder / "report.json"
        bodies.mkdir()
        for number, image in enumerate(images):
            (bodies / f"{number:04}.jpg").write_bytes(image)
        (folder / "processor.cjs").write_text(_PROCESSOR)
        (folder / "load.json").write_text(json.dumps(_script(url, rate, seconds, key)))
        own = {"LOAD_BODIES": str(bodies), "ARTILLERY_DISABLE_TELEMETRY": "true"}
        limit = seconds + _OVERHEAD_S
        try:
            done = subprocess.run(  # noqa: S603 - no shell; the program is the Artillery on the PATH, and every argument is made in this function
                [command, "run", "--quiet", "--output", str(report), str(folder / "load.json")],
                env=os.environ | own,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LookalikeError(f"Artillery did not end within {limit} s at {rate} requests a second.") from error
        if not report.exists():
            said = (done.stderr or done.stdout).strip()[-500:]
            raise LookalikeError(f"Artillery failed ({done.returncode}): {said}. Tested is {VERSION}: {INSTALL}")
        return read_report(json.loads(report.read_text()))


def read_report(report: Mapping[str, Any]) -> LoadResult:
    """Read the totals of Artillery's report."""
    counters = report["aggregate"]["counters"]
    times = report["aggregate"].get("summaries", {}).get("http.response_time", {})
    codes, errors = "http.codes.", "errors."
    return LoadResult(
        sent=counters.get("http.requests", 0),
        responses={int(name.removeprefix(codes)): n for name, n in counters.items() if name.startswith(codes)},
        errors={name.removeprefix(errors): n for name, n in counters.items() if name.startswith(errors)},
        p50=times.get("p50"),
        p95=times.get("p95"),
        p99=times.get("p99"),
    )


def _script(url: str, rate: int, seconds: int, key: str | None) -> dict[str, Any]:
    """Return Artillery's test script."""
    headers = {"Content-Type": "image/jpeg"} | ({"Authorization": f"Bearer {key}"} if key else {})
    search = {"post": {"url": "/search?k=10", "headers": headers, "beforeRequest": "nextImage"}}
    return {
        "config": {
            "target": url,
            "phases": [{"duration": seconds, "arrivalRate": rate}],
            "processor": "./processor.cjs",
            "http": {"timeout": _TIMEOUT_S},
        },
        "scenarios": [{"flow": [search]}],
    }
