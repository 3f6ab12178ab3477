"""Render Grafana's dashboard as an image without Grafana, by its queries to a real Prometheus.

    python -m benchmarks.dashboard http://127.0.0.1:9090 docs/dashboard.png --minutes 10 --ago 1

Panels are placed as in the dashboard. Grafana's variables are substituted: `$__rate_interval`, and every service for
`$instance`.
"""

import argparse
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

DASHBOARD = Path(__file__).parents[1] / "docker" / "grafana" / "dashboards" / "lookalike.json"
COLUMNS, CELL_IN, DPI = 24, (0.62, 0.36), 100
RATE_INTERVAL, POINTS = "30s", 240
UNITS = {"s": "s", "bytes": "B", "ops": "/s", "reqps": "/s"}
MAX_LEGEND_ENTRIES = 6


@dataclass(frozen=True)
class Series:
    """One line: name, times (seconds since 1970) and values, NaN where missing."""

    name: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]


class Prometheus:
    """Client for range queries over a number of minutes, ending some minutes ago."""

    def __init__(self, url: str, minutes: float, ago: float) -> None:
        self._client, self.end = httpx.Client(base_url=url, timeout=30), time.time() - 60 * ago
        self.start, self._step = self.end - 60 * minutes, 60 * minutes / POINTS

    def series(self, query: str, legend: str) -> list[Series]:
        """Run a dashboard's query; raise ValueError if Prometheus rejects it."""
        params: dict[str, str | float] = {"query": substitute(query), "start": self.start, "end": self.end}
        params["step"] = self._step
        answer = self._client.get("/api/v1/query_range", params=params)
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"{query}: {answer.json()['error']}")
        return [self._series(found, legend) for found in answer.json()["data"]["result"]]

    def _series(self, found: Mapping[str, Any], legend: str) -> Series:
        times, values = np.array(found["values"], np.float64).T
        name = re.sub(r"\{\{(\w+)\}\}", lambda label: found["metric"].get(label[1], ""), legend)
        return Series(name, times, np.where(np.isfinite(values), values, np.nan))


def substitute(query: str) -> str:
    """Substitute Grafana's variables in a query."""
    return query.replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*")


def draw(dashboard: Mapping[str, Any], prometheus: Prometheus) -> tuple[Figure, int]:
    """Draw all panels; return the figure, and the number of empty panels."""
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = Figure(figsize=(COLUMNS * CELL_IN[0], lines * CELL_IN[1]), dpi=DPI, facecolor="#f4f5f5")
    empty = 0
    for panel in dashboard["panels"]:
        axes = place(figure, panel["gridPos"], lines)
        if panel["type"] == "row":
            axes.axis("off")
            axes.text(0, 0.3, panel["title"], fontsize=11, fontweight="bold", transform=axes.transAxes)
            continue
        found = [
            one for target in panel["targets"] for one in prometheus.series(target["expr"], target["legendFormat"])
        ]
        empty += not found
        (draw_number if panel["type"] == "stat" else draw_lines)(axes, panel, found)
        if panel["type"] != "stat":
            axes.set_xlim(prometheus.start, prometheus.end)
    return figure, empty


def place(figure: Figure, position: Mapping[str, int], lines: int) -> Axes:
    """Create a panel's axes, with margins for its title and labels."""
    left, top, width, height = (position[name] for name in ("x", "y", "w", "h"))
    row = height == 1
    if not row:
        card = (
            (left + 0.1) / COLUMNS,
            (lines - top - height + 0.1) / lines,
            (width - 0.2) / COLUMNS,
            (height - 0.2) / lines,
        )
        figure.add_axes(card, xticks=[], yticks=[])
    inner = (0.2, 0.0, 0.0, 0.0) if row else (1.1, 1.7, 0.4, 1.2)
    x, y = left + inner[0], lines - top - height + inner[1]
    return figure.add_axes(
        (x / COLUMNS, y / lines, (width - inner[0] - inner[2]) / COLUMNS, (height - inner[1] - inner[3]) / lines)
    )


def draw_lines(axes: Axes, panel: Mapping[str, Any], found: list[Series]) -> None:
    """Draw a panel of lines, stacked if the panel is configured so."""
    axes.set_title(panel["title"], fontsize=9, loc="left")
    custom = panel["fieldConfig"]["defaults"]["custom"]
    if custom["stacking"]["mode"] == "normal" and found:
        times = np.unique(np.concatenate([one.times for one in found]))
        heights = [np.interp(times, one.times, np.nan_to_num(one.values), left=0, right=0) for one in found]
        axes.stackplot(times, heights, labels=[one.name for one in found], alpha=0.75, linewidth=0)
    else:
        for one in found:
            axes.plot(one.times, one.values, label=one.name, linewidth=1)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(EngFormatter(UNITS.get(unit, ""), sep=" " if unit in UNITS else ""))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda when, _: f"{datetime.fromtimestamp(when, UTC):%H:%M}"))
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.grid(color="#dddddd", linewidth=0.5)
    if found:
        names = axes.get_legend_handles_labels()
        shown = [some[:MAX_LEGEND_ENTRIES] for some in names]
        axes.legend(*shown, fontsize=6.5, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False)


def draw_number(axes: Axes, panel: Mapping[str, Any], found: list[Series]) -> None:
    """Draw a panel of the latest values."""
    axes.axis("off")
    axes.set_title(panel["title"], fontsize=9, loc="left")
    latest = [one.values[~np.isnan(one.values)][-1] for one in found if not np.isnan(one.values).all()]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    words = " · ".join(rounded(value, unit) for value in latest)
    axes.text(0.5, 0.5, words or "–", fontsize=17, ha="center", va="center", transform=axes.transAxes)


def rounded(value: float, unit: str) -> str:
    """Format a number with its unit, rounded."""
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit not in UNITS:
        return f"{value:,.0f}"
    return EngFormatter(UNITS[unit], places=1)(value)


def main() -> None:
    """Render the dashboard into a file."""
    parser = argparse.ArgumentParser(description="Draw the dashboard from a running Prometheus.")
    parser.add_argument("prometheus", help="URL of Prometheus")
    parser.add_argument("out", type=Path, help="output image")
    parser.add_argument("--minutes", type=float, default=10, help="length of the time range")
    parser.add_argument("--ago", type=float, default=0, help="minutes between the end of the time range and now")
    given = parser.parse_args()
    prometheus = Prometheus(given.prometheus, given.minutes, given.ago)
    figure, empty = draw(json.loads(DASHBOARD.read_text()), prometheus)
    figure.savefig(given.out)
    print(f"{given.out}: {empty} panels are empty")


if __name__ == "__main__":
    main()
