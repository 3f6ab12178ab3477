"""Write a comparison's files: `metrics.json`, plots, and a self-contained page."""

import json
from pathlib import Path
from typing import Any

from models.comparison.plots import draw, shown
from models.reports.report import write_files
from models.reports.templating import Table, number, render


def write(found: dict[str, Any], out: Path) -> None:
    """Write all files into `out`, replacing those of an earlier comparison.

    Raises:
        ModelError: a file cannot be written.
    """
    drawn = draw(found)
    files = {f"{name}.svg": svg.encode() for name, svg in drawn.items()}
    files["metrics.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["report.html"] = page(found, drawn).encode()
    write_files(files, out)


def page(found: dict[str, Any], drawn: dict[str, str]) -> str:
    """Render the page; `found` is the content of `metrics.json`, `drawn` is SVG by name."""
    plotted = [
        (method, scores) for method in found["methods"].values() if (scores := shown(method, found["plotted_bits"]))
    ]
    return render(
        "models.comparison",
        "comparison.html",
        **found,
        best=sorted(((scores["map"], method["title"]) for method, scores in plotted), reverse=True)[:4],
        plots=drawn,
        refused=_refused(found),
        tables={
            "methods": _methods_table(plotted) if plotted else None,
            "bits": _bits_table(found),
            "growth": _growth_table(found),
        },
    )


def _methods_table(plotted: list[tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    ks = list(plotted[0][1]["precision"])
    head = ["method", "learns from", "pictures", "mAP", *(f"P@{k}" for k in ks), "radius 2", "learning", "memory"]
    rows = [
        [
            method["title"],
            method["learns"],
            "" if method["pictures"] is None else f"{method['pictures']:,}",
            number(scores["map"]),
            *(number(scores["precision"][k]) for k in ks),
            number(scores["precision_radius_2"]),
            _seconds(scores["seconds"]),
            _megabytes(scores["memory"]),
        ]
        for method, scores in plotted
    ]
    return head, rows


def _bits_table(found: dict[str, Any]) -> Table:
    lengths = sorted({int(bits) for method in found["methods"].values() for bits in method["bits"]})
    rows = [
        [
            method["title"],
            *(number(method["bits"][str(bits)]["map"]) if str(bits) in method["bits"] else "" for bits in lengths),
        ]
        for method in found["methods"].values()
    ]
    return ["method", *(f"{bits} bits" for bits in lengths)], rows


def _growth_table(found: dict[str, Any]) -> Table:
    counts = sorted({int(time["pictures"]) for times in found["growth"].values() for time in times})
    rows = []
    for name, times in found["growth"].items():
        taken = {time["pictures"]: _seconds(time["seconds"]) for time in times}
        rows.append([found["methods"][name]["title"], *(taken.get(count, "") for count in counts)])
    return ["method", *(f"{count:,}" for count in counts)], rows


def _refused(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return methods with the code lengths that they do not support, and the reason."""
    return [
        (f"{method['title']}, {', '.join(lengths)} bits", reason)
        for method in found["methods"].values()
        for reason, lengths in _by_reason(method["refused"]).items()
    ]


def _by_reason(refused: dict[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for bits, why in refused.items():
        reasons.setdefault(why, []).append(bits)
    return reasons


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f} s"


def _megabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f} MB"
