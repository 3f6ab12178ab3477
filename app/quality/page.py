"""Render a catalogue's quality report as a self-contained HTML page, and write `report.html` and `report.json`."""

import json
from html import escape
from pathlib import Path
from typing import Any

from app.quality.codes import MIN_CORRELATION
from models.reports.html import (
    document,
    header,
    number,
    paragraph,
    percent,
    plot,
    section,
    side_by_side,
    table,
    terms,
)
from models.reports.plots import bits_plot, recall_time_plot
from models.reports.report import require_writable, write_files

PAGE, NUMBERS = "report.html", "report.json"
_DEFINITIONS = (
    ("Recall@10", "The share of a picture's ten exact nearest neighbours by F7 that both steps find."),
    (
        "Lost",
        "The fine step is exact, so a neighbour that both steps miss was not in the pool. If a pool ten times as large "
        "contains it, it counts as lost by the pool's size, otherwise as lost by the codes.",
    ),
    (
        "Precision@10",
        "The share of ten results that have the query's label. Results and queries without a label are not counted. A "
        "label with fewer than eleven pictures cannot reach 100%.",
    ),
    ("Queries", "Pictures of the catalogue, chosen at random with a fixed seed. A query is not among its own results."),
    ("Time", "Median time of both steps of a single search, without decoding and encoding."),
    (
        "Drift",
        "Distance between the mean of the newest tenth and the mean of the rest, in spreads of one picture about its "
        "group's mean, minus the distance expected by chance. 0 is none, 0.5 is much.",
    ),
)


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
    content = (_summary(found), _pools(found), _precision(found), _codes(found["codes"]), _drift(found), _about(found))
    return document("Search quality", "".join(content))


def _summary(found: dict[str, Any]) -> str:
    catalogue, network = found["catalogue"], found["network"]
    figures = [(percent(found["lost"]["found"]), f"recall@{found['k']}, pool of {found['pool']:,}")]
    if found["precision"]:
        figures += [(percent(found["precision"]["both"]), f"precision@{found['k']}, both steps")]
        figures += [(percent(found["precision"]["exact"]), f"precision@{found['k']}, exhaustive")]
    figures += [(f"{found['advice']['pool']:,}", "candidates recommended")]
    summary = (
        f"<p>{catalogue['pictures']:,} pictures, {catalogue['labelled']:,} of them with one of {catalogue['labels']:,} "
        f"labels, encoded by the model <b>{escape(network['name'])}</b> "
        f"(<code>{escape(network['fingerprint'])}</code>, {network['bits']} bits). {found['queries']:,} of them were "
        "used as queries.</p>"
    )
    damaged = catalogue["damaged"]
    warning = f"{damaged:,} pictures have damaged vectors and were left out. `lookalike check --repair` repairs them."
    return header("Search quality", summary, figures, paragraph(warning) if damaged else "")


def _pools(found: dict[str, Any]) -> str:
    pools, lost, known = found["pools"], found["lost"], found["precision"] is not None
    sizes, times = [one["pool"] for one in pools], [one["milliseconds"] for one in pools]
    drawn = recall_time_plot(times, [one["recall"] for one in pools], sizes, found["enough_recall"])
    head = ["pool", "recall@10", "lost", *(["precision@10"] if known else []), "milliseconds"]
    rows = [
        [
            f"{one['pool']:,}{' (in use)' if one['pool'] == found['pool'] else ''}",
            percent(one["recall"]),
            percent(1 - one["recall"]),
            *([_share(one["precision"])] if known else []),
            f"{one['milliseconds']:.2f}",
        ]
        for one in pools
    ]
    split = (
        f"With the pool in use, both steps find {percent(lost['found'])} of the exact nearest neighbours. "
        f"{percent(lost['by_pool'])} are lost by its size, which a pool of {lost['wider']:,} finds, and "
        f"{percent(lost['by_codes'])} by the codes. Exhaustive search takes {found['exact_milliseconds']:.2f} ms."
    )
    advice = f"<p><b>Recommended: a pool of {found['advice']['pool']:,}.</b> {escape(found['advice']['why'])}</p>"
    figure = plot(drawn, "Recall by time for each pool size")
    return section(
        "Candidates", advice + paragraph(split) + side_by_side(figure, table("Results by pool size", head, rows))
    )


def _precision(found: dict[str, Any]) -> str:
    if found["precision"] is None:
        return section("Labels", paragraph("Precision cannot be measured: no query has a label."))
    overall = found["precision"]
    rows = [
        [
            f"{row['label']} ({row['pictures']:,} pictures)",
            str(row["queries"]),
            percent(row["recall"]),
            *(_share(row[way]) for way in ("both", "codes", "exact")),
        ]
        for row in found["labels"]
    ]
    summary = (
        f"Of ten results, {_share(overall['both'])} have the query's label with both steps, "
        f"{_share(overall['codes'])} with codes alone, and {_share(overall['exact'])} with exhaustive search. "
        + _pool_cost(overall["both"], overall["exact"])
    )
    head = ["label", "queries", "recall@10", "both steps", "codes alone", "exhaustive"]
    return section("Labels", paragraph(summary) + table("By label, lowest recall first", head, rows))


def _pool_cost(both: float, exact: float) -> str:
    if both >= exact:
        return "Ranking only the pool costs no precision."
    return f"Ranking only the pool costs {100 * (exact - both):.1f} points."


def _codes(health: dict[str, Any]) -> str:
    colliding = "unknown" if health["colliding"] is None else f"{health['colliding']:,}"
    rows = [
        ["dead bits (equal in 99.5% of codes or more)", f"{health['dead']} of {health['bits']}"],
        ["nearly dead bits (equal in more than 95%)", str(health["nearly_dead"])],
        [f"redundant pairs of bits (correlation {MIN_CORRELATION} or more)", str(health["alike"])],
        ["entropy of a bit (1 is best)", number(health["entropy"])],
        ["correlation between bits (0 is best)", number(health["correlation"])],
        ["distinct codes", f"{health['distinct']:,} of {health['pictures']:,} pictures"],
        ["pictures that share a code with another label", colliding],
    ]
    figure = plot(bits_plot(health["ones"]), "Share of ones of each bit; bits near 0 or 1 carry little information")
    pairs = ", ".join(f"{one} and {other} ({strength:+.2f})" for one, other, strength in health["most_alike"])
    redundant = paragraph(f"Most correlated bits: {pairs}.") if pairs else ""
    return section("Codes", side_by_side(figure, table("Health of the codes", ["measure", "value"], rows)) + redundant)


def _drift(found: dict[str, Any]) -> str:
    drift = found["drift"]
    if drift is None:
        return section("Newer pictures", paragraph("There are too few pictures to compare newer ones with older ones."))
    summary = (
        f"The newest {drift['newest']:,} pictures show {drift['in_words']}: the mean of their F7 differs from that of "
        f"the rest by {drift['features']:.2f} spreads, that of their codes by {drift['codes']:.2f}; a bit's share of "
        f"ones differs by {percent(drift['bits_moved'])} on average. "
    )
    new = ", ".join(f"{one['label']} ({one['pictures']:,})" for one in drift["new_labels"])
    summary += f"Labels that only they have: {new}." if new else "They have no new labels."
    return section("Newer pictures", paragraph(summary))


def _about(found: dict[str, Any]) -> str:
    return section("How it was measured", terms(_DEFINITIONS) + paragraph(f"It took {found['seconds']:.0f} s."))


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)
