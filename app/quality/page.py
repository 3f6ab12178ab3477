"""A report on a catalogue as one HTML page that needs nothing else, and as the files that `lookalike report` leaves."""

import json
from html import escape
from pathlib import Path
from typing import Any

from app.quality.codes import ALIKE
from models.reports.parts import (
    beside,
    document,
    header,
    number,
    paragraph,
    percent,
    plot,
    section,
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
        "The fine step is exact, so a neighbour that both steps miss was not in the pool. One that a pool ten times as "
        "large would hold counts as lost by the pool's size, one that not even that would hold as lost by the codes.",
    ),
    (
        "Precision@10",
        "The share of ten results that have the query's label. Results without a label count neither way, and queries "
        "without one are left out. A label with fewer than eleven pictures cannot reach 100%.",
    ),
    ("Queries", "Pictures of the catalogue, chosen at random, the same every time; none finds itself."),
    ("Time", "Both steps of a lone search, the median; decoding and the network come on top."),
    (
        "Drift",
        "How far the mean of the newest tenth lies from the mean of the rest, in spreads of one picture about its "
        "group's mean, less what chance alone explains. 0 is none, 0.5 much.",
    ),
)


def write(found: dict[str, Any], out: Path) -> Path:
    """Writes `report.json` and `report.html` into a folder; returns the page's path.

    Raises:
        ModelError: the folder cannot be written to.
    """
    require_writable(out)
    numbers = json.dumps(found, indent=2, allow_nan=False) + "\n"
    write_files({NUMBERS: numbers.encode(), PAGE: page(found).encode()}, out)
    return out / PAGE


def page(found: dict[str, Any]) -> str:
    """Returns the page of what `report.json` holds."""
    content = (_summary(found), _pools(found), _precision(found), _codes(found["codes"]), _drift(found), _about(found))
    return document("How good is the search?", "".join(content))


def _summary(found: dict[str, Any]) -> str:
    catalogue, network = found["catalogue"], found["network"]
    figures = [(percent(found["lost"]["found"]), f"recall@{found['k']}, pool of {found['pool']:,}")]
    if found["precision"]:
        figures += [(percent(found["precision"]["both"]), f"precision@{found['k']}, both steps")]
        figures += [(percent(found["precision"]["exact"]), f"precision@{found['k']}, exhaustive")]
    figures += [(f"{found['advice']['pool']:,}", "candidates recommended")]
    told = (
        f"<p>{catalogue['pictures']:,} pictures, {catalogue['labelled']:,} of them with one of {catalogue['labels']:,} "
        f"labels, encoded by <b>{escape(network['name'])}</b> (<code>{escape(network['fingerprint'])}</code>, "
        f"{network['bits']} bits). {found['queries']:,} of them ask.</p>"
    )
    damaged = catalogue["damaged"]
    bad = f"{damaged:,} pictures have damaged vectors and were left out. `lookalike check --repair` mends them."
    return header("How good is the search?", told, figures, paragraph(bad) if damaged else "")


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
    figure = plot(drawn, "Recall by time, a point for each pool")
    return section("Candidates", advice + paragraph(split) + beside(figure, table("What pools find", head, rows)))


def _precision(found: dict[str, Any]) -> str:
    if found["precision"] is None:
        return section("Labels", paragraph("Without labels nobody knows what should be found."))
    every = found["precision"]
    rows = [
        [
            f"{row['label']} ({row['pictures']:,} pictures)",
            str(row["queries"]),
            percent(row["recall"]),
            *(_share(row[way]) for way in ("both", "codes", "exact")),
        ]
        for row in found["labels"]
    ]
    told = (
        f"Of ten results, both steps find {_share(every['both'])} with the query's label, codes alone "
        f"{_share(every['codes'])}, and exhaustive search {_share(every['exact'])}. "
        + _verdict(every["both"], every["exact"])
    )
    head = ["label", "queries", "recall@10", "both steps", "codes alone", "exhaustive"]
    return section("Labels", paragraph(told) + table("By label, the most lost first", head, rows))


def _verdict(both: float, exact: float) -> str:
    if both >= exact:
        return "So leaving most pictures out costs nothing."
    return f"So leaving most pictures out costs {100 * (exact - both):.1f} points."


def _codes(health: dict[str, Any]) -> str:
    colliding = "nobody knows" if health["colliding"] is None else f"{health['colliding']:,}"
    rows = [
        ["dead bits (99.5% alike or more)", f"{health['dead']} of {health['bits']}"],
        ["nearly dead bits (more than 95%)", str(health["nearly_dead"])],
        [f"pairs of bits that say the same (correlation {ALIKE} or more)", str(health["alike"])],
        ["entropy of a bit (1 is best)", number(health["entropy"])],
        ["correlation between bits (0 is best)", number(health["correlation"])],
        ["distinct codes", f"{health['distinct']:,} of {health['pictures']:,} pictures"],
        ["pictures that share a code with another label", colliding],
    ]
    figure = plot(bits_plot(health["ones"]), "How often bits are 1: those at the edges say little")
    alike = ", ".join(f"{one} and {other} ({strength:+.2f})" for one, other, strength in health["most_alike"])
    said = paragraph(f"Bits that say almost the same: {alike}.") if alike else ""
    return section("Codes", beside(figure, table("Health of the codes", ["measure", "value"], rows)) + said)


def _drift(found: dict[str, Any]) -> str:
    drift = found["drift"]
    if drift is None:
        return section("Newer pictures", paragraph("There are too few pictures to tell newer ones from older ones."))
    told = (
        f"The newest {drift['newest']:,} pictures show {drift['in_words']}: their F7 is {drift['features']:.2f} "
        f"spreads away from that of the rest, their codes {drift['codes']:.2f}; a bit's share of ones differs by "
        f"{percent(drift['bits_moved'])} in the mean. "
    )
    new = ", ".join(f"{one['label']} ({one['pictures']:,})" for one in drift["new_labels"])
    told += f"Labels that only they have: {new}." if new else "They bring no new label."
    return section("Newer pictures", paragraph(told))


def _about(found: dict[str, Any]) -> str:
    return section("How it was measured", terms(_DEFINITIONS) + paragraph(f"It took {found['seconds']:.0f} s."))


def _share(value: float | None) -> str:
    return "nobody knows" if value is None else percent(value)
