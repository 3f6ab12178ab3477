"""Write a comparison's files: `metrics.json`, plots, and a self-contained page."""

import json
from html import escape
from pathlib import Path
from typing import Any

from models.comparison.plots import draw, shown
from models.reports.html import document, header, number, paragraph, plot, section, side_by_side, table, terms
from models.reports.report import write_files

_DEFINITIONS = (
    ("mAP", "The mean over queries of average precision over the whole ranking by Hamming distance."),
    ("Precision@k", "The share of relevant pictures among the first k, mean over queries."),
    ("Ties", "Every measure is the expectation over random orders of ties (McSherry, Najork 2008)."),
    (
        "Precision by recall",
        "The highest precision at that recall or above; the ranking is cut where a Hamming radius ends.",
    ),
    ("Radius 2", "Precision among pictures whose code differs in at most 2 bits; a query without any counts as 0."),
    ("Learning", "Wall-clock seconds, and peak memory above what was in use before."),
    (
        "Pairs",
        "Pair-based methods learn from as many pictures as in their papers, equally many of each class; the "
        "others from all.",
    ),
    (
        "What is trained",
        "F7 is fixed, and the same for all. The neural methods (ours, SSDH, CNNH and CNNH+) train the same kind of "
        "hidden layer on it, and their own layers behind that; in their papers F7 is trained too. A network in a row "
        "of its own was trained end to end.",
    ),
)


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
    sections = [_summary(found), _at_one_length(found, drawn), _by_bits(found, drawn), _growth(found, drawn)]
    return document(f"{found['data']['folder']}: comparison", "".join([*sections, _refused(found), _about(found)]))


def size(memory: float | None) -> str:
    """Format bytes as megabytes."""
    return "" if memory is None else f"{memory / 1e6:,.0f} MB"


def seconds(value: float | None) -> str:
    """Format seconds."""
    return "" if value is None else f"{value:,.1f} s"


def _summary(found: dict[str, Any]) -> str:
    data, network, bits = found["data"], found["network"], found["plotted_bits"]
    ranked = sorted(
        ((scores["map"], method["title"]) for method in found["methods"].values() if (scores := shown(method, bits))),
        reverse=True,
    )
    what = f"in {len(data['classes'])} classes" if data["classes"] else "without labels; the nearest by F7 are relevant"
    summary = (
        f"<p>{data['queries']:,} pictures of <b>{escape(data['folder'])}</b> searched among {data['database']:,} "
        f"{what}. All methods use F7 of <code>{escape(network['name'])}</code> ({escape(network['backbone'])}, "
        f"pictures of {network['size']} pixels).</p>"
    )
    return header("Comparison", summary, [(number(value), f"mAP, {title}") for value, title in ranked[:4]])


def _at_one_length(found: dict[str, Any], drawn: dict[str, str]) -> str:
    bits = found["plotted_bits"]
    plotted = [(method, scores) for method in found["methods"].values() if (scores := shown(method, bits))]
    if not plotted:
        return section(f"{bits} bits", paragraph("No method supports codes of this length."))
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
            seconds(scores["seconds"]),
            size(scores["memory"]),
        ]
        for method, scores in plotted
    ]
    figures = side_by_side(
        plot(drawn["precision"], "Precision at k results"), plot(drawn["recall"], "Precision by recall")
    )
    return section(f"{bits} bits", figures + table(f"Codes of {bits} bits", head, rows))


def _by_bits(found: dict[str, Any], drawn: dict[str, str]) -> str:
    lengths = sorted({int(bits) for method in found["methods"].values() for bits in method["bits"]})
    rows = [
        [
            method["title"],
            *(number(method["bits"][str(bits)]["map"]) if str(bits) in method["bits"] else "" for bits in lengths),
        ]
        for method in found["methods"].values()
    ]
    head = ["method", *(f"{bits} bits" for bits in lengths)]
    return section("By length of code", plot(drawn["map"], "mAP by bits") + table("mAP by bits", head, rows))


def _growth(found: dict[str, Any], drawn: dict[str, str]) -> str:
    if not found["growth"]:
        return ""
    counts = sorted({int(time["pictures"]) for times in found["growth"].values() for time in times})
    rows = []
    for name, times in found["growth"].items():
        taken = {time["pictures"]: seconds(time["seconds"]) for time in times}
        rows.append([found["methods"][name]["title"], *(taken.get(count, "") for count in counts)])
    note = paragraph(
        "Seconds of learning by number of pictures. Pair-based methods use the pairs of all of them here, not of the "
        "sample in their papers, and stop where that takes too long: the empty cells."
    )
    figures = plot(drawn["cost"], "Seconds of learning by number of pictures")
    head = ["method", *(f"{count:,}" for count in counts)]
    return section("Cost of learning", note + figures + table("Seconds by number of pictures", head, rows))


def _refused(found: dict[str, Any]) -> str:
    reasons = [
        (f"{method['title']}, {', '.join(lengths)} bits", why)
        for method in found["methods"].values()
        for why, lengths in _by_reason(method["refused"]).items()
    ]
    return section("Not possible", terms(reasons)) if reasons else ""


def _by_reason(refused: dict[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for bits, why in refused.items():
        reasons.setdefault(why, []).append(bits)
    return reasons


def _about(found: dict[str, Any]) -> str:
    took = found["seconds"]
    left_out = found["data"]["unreadable"]
    note = paragraph(
        f"Queries are {found['data']['queries_from']} pictures; seed {found['seed']}. Encoding took "
        f"{took['encoding']:.0f} s, all {took['total']:.0f} s."
        + (f" {left_out} unreadable files were skipped." if left_out else "")
    )
    return section("How it was measured", terms(_DEFINITIONS) + note)
