"""A comparison as files: `metrics.json`, plots, and one page that needs nothing else."""

import json
from html import escape
from pathlib import Path
from typing import Any

from models.comparison.plots import draw, shown
from models.reports.parts import beside, document, header, number, paragraph, plot, section, table, terms
from models.reports.report import write_files

_DEFINITIONS = (
    ("mAP", "The mean over queries of average precision over the whole ranking by Hamming distance."),
    ("Precision@k", "The share of relevant pictures among the first k, mean over queries."),
    ("Ties", "Every measure is what to expect when equal distances come in random order (McSherry, Najork 2008)."),
    (
        "Precision by recall",
        "The best precision at that recall or a greater one; the ranking is cut where a Hamming radius ends.",
    ),
    ("Radius 2", "Precision among pictures whose code differs in at most 2 bits; a query that finds none counts as 0."),
    ("Learning", "Seconds by the clock, and the most memory in use meanwhile beyond what was in use before."),
    (
        "Pairs",
        "Methods that look at pairs learn from as many pictures as in their papers, equally many of each class; the "
        "others from all.",
    ),
    (
        "What is learnt",
        "F7 is the same for all and stays as it is. The methods that are networks (ours, SSDH, CNNH and CNNH+) learn "
        "one hidden layer on it, the same for all of them, and their own layers behind that; in their papers F7 learns "
        "too. A network in a row of its own was taught so, end to end.",
    ),
)


def write(found: dict[str, Any], out: Path) -> None:
    """Write everything into `out`, replacing what an earlier comparison left.

    Raises:
        ModelError: a file cannot be written.
    """
    drawn = draw(found)
    files = {f"{name}.svg": svg.encode() for name, svg in drawn.items()}
    files["metrics.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["report.html"] = page(found, drawn).encode()
    write_files(files, out)


def page(found: dict[str, Any], drawn: dict[str, str]) -> str:
    """Return the page; `found` is what `metrics.json` holds, `drawn` is SVG by name."""
    sections = [_summary(found), _at_one_length(found, drawn), _by_bits(found, drawn), _growth(found, drawn)]
    return document(f"{found['data']['folder']}: comparison", "".join([*sections, _refused(found), _about(found)]))


def size(memory: float | None) -> str:
    """Write bytes down in megabytes."""
    return "" if memory is None else f"{memory / 1e6:,.0f} MB"


def seconds(value: float | None) -> str:
    """Write seconds down."""
    return "" if value is None else f"{value:,.1f} s"


def _summary(found: dict[str, Any]) -> str:
    data, network, bits = found["data"], found["network"], found["plotted_bits"]
    ranked = sorted(
        ((scores["map"], method["title"]) for method in found["methods"].values() if (scores := shown(method, bits))),
        reverse=True,
    )
    what = f"in {len(data['classes'])} classes" if data["classes"] else "without labels; relevant are the nearest by F7"
    told = (
        f"<p>{data['queries']:,} pictures of <b>{escape(data['folder'])}</b> searched among {data['database']:,} "
        f"{what}. All methods read F7 of <code>{escape(network['name'])}</code> ({escape(network['backbone'])}, "
        f"pictures of {network['size']} pixels).</p>"
    )
    return header("Comparison", told, [(number(value), f"mAP, {title}") for value, title in ranked[:4]])


def _at_one_length(found: dict[str, Any], drawn: dict[str, str]) -> str:
    bits = found["plotted_bits"]
    plotted = [(method, scores) for method in found["methods"].values() if (scores := shown(method, bits))]
    if not plotted:
        return section(f"{bits} bits", paragraph("No method could make codes of this length."))
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
    figures = beside(plot(drawn["precision"], "Precision at k results"), plot(drawn["recall"], "Precision by recall"))
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
    told = paragraph(
        "Seconds to learn from so many pictures. Pair-based methods look at the pairs of all of them here, not of the "
        "few that their papers choose, and are stopped where that takes long: the cells left empty."
    )
    figures = plot(drawn["cost"], "Seconds of learning by number of pictures")
    head = ["method", *(f"{count:,}" for count in counts)]
    return section("What learning costs", told + figures + table("Seconds by number of pictures", head, rows))


def _refused(found: dict[str, Any]) -> str:
    said = [
        (f"{method['title']}, {', '.join(lengths)} bits", why)
        for method in found["methods"].values()
        for why, lengths in _by_reason(method["refused"]).items()
    ]
    return section("What could not be done", terms(said)) if said else ""


def _by_reason(refused: dict[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for bits, why in refused.items():
        reasons.setdefault(why, []).append(bits)
    return reasons


def _about(found: dict[str, Any]) -> str:
    took = found["seconds"]
    left_out = found["data"]["unreadable"]
    told = paragraph(
        f"Queries are {found['data']['queries_from']} pictures; seed {found['seed']}. Encoding took "
        f"{took['encoding']:.0f} s, all {took['total']:.0f} s."
        + (f" {left_out} unreadable files were left out." if left_out else "")
    )
    return section("How it was measured", terms(_DEFINITIONS) + told)
