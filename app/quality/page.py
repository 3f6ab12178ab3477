"""Render a catalogue's quality report as a self-contained HTML page, and write `report.html` and `report.json`."""

import json
from pathlib import Path
from typing import Any

from app.quality.codes import MIN_CORRELATION
from models.reports.plots import bits_plot, recall_time_plot
from models.reports.report import require_writable, write_files
from models.reports.templating import Table, percent, render

PAGE, NUMBERS = "report.html", "report.json"


def write(found: dict[str, Any], out: Path) -> Path:
    """Write `report.json` and `report.html` into a folder; returns the page's path.

    Raises:
        ModelError: the folder is not writable.
    """
    require_writable(out)
    numbers = json.dumps(found, indent=2, allow_nan=False) + "\n"
    write_files({NUMBERS: numbers.encode(), PAGE: page(found).encode()}, out)
    return out / PAGE


def page(found: dict[str, Any]) -> str:
    """Render the content of `report.json` as HTML."""
    return render(
        "app.quality",
        "quality.html",
        **found,
        min_correlation=MIN_CORRELATION,
        plots={"pools": _pools_plot(found), "bits": bits_plot(found["codes"]["ones"])},
        tables={
            "pools": _pools_table(found),
            "labels": _labels_table(found["labels"]),
            "confused": _confused_table(found["confused"]),
            "suspects": _suspects_table(found["suspects"], found["k"]),
        },
    )


def _pools_plot(found: dict[str, Any]) -> str:
    pools = found["pools"]
    sizes, times = [one["pool"] for one in pools], [one["milliseconds"] for one in pools]
    return recall_time_plot(times, [one["recall"] for one in pools], sizes, found["enough_recall"])


def _pools_table(found: dict[str, Any]) -> Table:
    known = found["precision"] is not None
    head = ["pool", "recall@10", "lost", *(["precision@10"] if known else []), "milliseconds"]
    rows = [
        [
            f"{one['pool']:,}{' (in use)' if one['pool'] == found['pool'] else ''}",
            percent(one["recall"]),
            percent(1 - one["recall"]),
            *([percent(one["precision"])] if known else []),
            f"{one['milliseconds']:.2f}",
        ]
        for one in found["pools"]
    ]
    return head, rows


def _labels_table(labels: list[dict[str, Any]]) -> Table:
    head = ["label", "queries", "recall@10", "both steps", "codes alone", "exhaustive"]
    rows = [
        [
            f"{row['label']} ({row['pictures']:,} pictures)",
            str(row["queries"]),
            *(percent(row[measure]) for measure in ("recall", "both", "codes", "exact")),
        ]
        for row in labels
    ]
    return head, rows


def _confused_table(confused: list[dict[str, Any]]) -> Table:
    rows = [[f"{one['label']} → {one['other']}", f"{one['images']:,} of {one['of']:,}"] for one in confused]
    return ["label → nearest label", "queries"], rows


def _suspects_table(suspects: list[dict[str, Any]], k: int) -> Table:
    rows = [[str(one["id"]), one["label"], one["suggested"], f"{one['votes']} of {k}"] for one in suspects]
    return ["picture", "its label", "probably", "neighbours"], rows
