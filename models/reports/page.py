"""Evaluation report as a self-contained HTML page with inline styles, plots and images.

Light and dark follow the reader's system. Everything in an image or plot is also in a table or in text.
"""

import base64
from html import escape
from typing import Any

from models.reports.html import document, header, number, percent, plot, section, side_by_side, table, terms
from models.reports.plots import LABELS

QUERY_ORIGINS = {
    "test": "test pictures",
    "validation": "validation pictures",
    "held out": "held-out pictures",
    "drawn": "pictures drawn at random, which may be training data,",
}
_MEANING = {
    "es": "exhaustive search: F7 alone, over the whole database",
    "hds": "both steps: codes find the pool, F7 ranks it",
    "bcs": "codes alone, by Hamming distance",
    "imagenet": "F7 of the same backbone before training, ImageNet weights only, raw",
}
_DEFINITIONS = (
    ("Relevant", "A picture is relevant to a query when both have the same label."),
    ("Precision@k", "The share of relevant pictures among the first k, mean over queries."),
    (
        "mAP",
        "The mean over queries of average precision over the whole ranking, divided by all relevant pictures in the "
        "database. mAP@1000 is over the first 1,000 results and divided by the relevant ones among those, as in the "
        "hashing literature.",
    ),
    (
        "Ties",
        "Equal distances are ordered by position in the database, which is shuffled with a fixed seed. The "
        "tie-aware mAP is the expectation over all orders (McSherry, Najork 2008).",
    ),
    (
        "Radius 2",
        "Precision among pictures whose code differs in at most 2 bits; a query without such pictures counts as 0.",
    ),
    (
        "Precision by recall",
        "The highest precision at that recall or above. Codes are cut only where a Hamming radius ends.",
    ),
    ("HDS", "The pool ranked by F7, then the rest of the coarse ranking."),
    ("Distances", "L2 from float32 matrix products, used for ranking only."),
)


def page(found: dict[str, Any], drawn: dict[str, str], sheets: dict[str, bytes]) -> str:
    """Render the page.

    Args:
        found: content of `metrics.json`.
        drawn: SVG by name: `precision`, `recall`, `bits`.
        sheets: WebP by mode.
    """
    sections = [
        _summary(found),
        _retrieval(found, drawn),
        _norms(found["feature_norm"]),
        _codes(found["codes"], drawn["bits"]),
        _unseen(found["unseen"]),
        _results(sheets),
        _about(found),
    ]
    return document(f"{found['checkpoint']['name']}: evaluation", "".join(sections))


def _summary(found: dict[str, Any]) -> str:
    checkpoint, data = found["checkpoint"], found["data"]
    best = _at_ten(found["modes"]["hds"])
    figures = [(percent(found["accuracy"]), "accuracy of F8")] if found["accuracy"] is not None else []
    figures += [(percent(found["modes"]["hds"]["precision"][best]), f"precision@{best}, HDS")]
    figures += [(number(found["modes"]["hds"]["map"]), "mAP, HDS")]
    figures += [(number(found["modes"]["bcs"]["map"]), "mAP, codes alone")]
    origin = QUERY_ORIGINS[data["queries_from"]]
    summary = (
        f"<p><code>{escape(checkpoint['fingerprint'])}</code>, {escape(checkpoint['backbone'])}, "
        f"{checkpoint['bits']} bits, pictures of {checkpoint['size']} pixels. {data['queries']:,} {origin} of "
        f"<b>{escape(data['folder'])}</b> searched among {data['database']:,} in {len(data['classes'])} classes.</p>"
    )
    missing = f"<p>{escape(found['accuracy_missing'])}</p>" if found["accuracy"] is None else ""
    return header(checkpoint["name"], summary, figures, missing)


def _retrieval(found: dict[str, Any], drawn: dict[str, str]) -> str:
    modes = found["modes"]
    extra = (
        f"<p>Ties broken at random, codes alone have an mAP of {number(modes['bcs']['map_tie_aware'])}. Within "
        f"Hamming radius 2 their precision is {number(modes['bcs']['precision_radius_2'])}; "
        f"{percent(modes['bcs']['empty_radius_2'])} of the queries find nothing within it.</p>"
    )
    missing = "".join(f"<p>{LABELS[mode]}: {escape(why)}</p>" for mode, why in found["modes_missing"].items())
    legend = terms((LABELS[mode], _MEANING[mode]) for mode in modes)
    figures = side_by_side(
        plot(drawn["precision"], "Precision at k results"), plot(drawn["recall"], "Precision by recall")
    )
    tables = _modes_table("Retrieval by mode", modes) + _recall_table(modes)
    return section("Retrieval", f"{legend}{figures}{tables}{extra}{missing}")


def _modes_table(caption: str, modes: dict[str, Any]) -> str:
    ks = list(next(iter(modes.values()))["precision"])
    head = ["mode", *(f"P@{k}" for k in ks), "mAP@1000", "mAP"]
    rows = [
        [LABELS[mode], *(number(found["precision"][k]) for k in ks), number(found["map_1000"]), number(found["map"])]
        for mode, found in modes.items()
    ]
    return table(caption, head, rows)


def _recall_table(modes: dict[str, Any]) -> str:
    curves = [found["precision_by_recall"] for found in modes.values()]
    last = len(curves[0]) - 1
    rows = [
        [f"{step / last:.2f}", *(number(value) for value in values)]
        for step, values in enumerate(zip(*curves, strict=True))
    ]
    numbers = table("Precision by recall", ["recall", *(LABELS[mode] for mode in modes)], rows)
    return f"<details><summary>Precision by recall in numbers</summary>{numbers}</details>"


def _norms(norms: dict[str, Any]) -> str:
    k = _at_ten(norms["raw"]["es"])
    head = ["F7", f"ES P@{k}", f"HDS P@{k}", "ES mAP", "HDS mAP"]
    rows = [
        [
            f"{norm} (the checkpoint's)" if norm == norms["used"] else norm,
            *(number(norms[norm][mode]["precision"][k]) for mode in ("es", "hds")),
            *(number(norms[norm][mode]["map"]) for mode in ("es", "hds")),
        ]
        for norm in ("raw", "unit")
    ]
    why = "F7 unchanged or at unit length. The checkpoint should have the better one."
    return section("Raw or unit F7", f"<p>{why}</p>" + table("Norms of F7", head, rows))


def _codes(health: dict[str, Any], drawn: str) -> str:
    rows = [
        ["dead bits (99.5% the same or more)", f"{health['dead']} of {health['bits']}"],
        ["nearly dead bits (more than 95%)", str(health["nearly_dead"])],
        ["entropy of a bit (1 is best)", number(health["entropy"])],
        ["correlation between bits (0 is best)", number(health["correlation"])],
        ["distinct codes", f"{health['distinct']:,} of {health['pictures']:,} pictures"],
        ["pictures that share a code with another class", f"{health['colliding']:,}"],
    ]
    caption = "Share of pictures in which bits are 1; those at the edges carry little information"
    figure = plot(drawn, caption)
    return section("Codes", side_by_side(figure, table("Health of the codes", ["measure", "value"], rows)))


def _unseen(unseen: dict[str, Any] | None) -> str:
    if unseen is None:
        why = "Not measured: disabled, or fewer than two classes outside the training data."
        return section("Unseen classes", f"<p>{why}</p>")
    summary = (
        f"<p>{unseen['queries']:,} queries among {unseen['database']:,} pictures of classes that the checkpoint was "
        f"not trained on: {escape(', '.join(unseen['classes']))}.</p>"
    )
    return section("Unseen classes", summary + _modes_table("Retrieval among unseen classes", unseen["modes"]))


def _results(sheets: dict[str, bytes]) -> str:
    figures = "".join(
        f"<figure><figcaption>{LABELS[mode]}</figcaption>"
        f'<img src="data:image/webp;base64,{base64.b64encode(image).decode()}" '
        f'alt="Sampled queries at the left, each with its best results in mode {LABELS[mode]}"></figure>'
        for mode, image in sheets.items()
    )
    legend = "<p>Queries at the left; green is the same class, red with a cross another class.</p>"
    return section("Results of sample queries", legend + side_by_side(figures))


def _about(found: dict[str, Any]) -> str:
    data, seconds = found["data"], found["seconds"]
    names = ", ".join(escape(path) for path in data["unreadable"])
    left_out = f"<p>{len(data['unreadable'])} unreadable files were skipped: {names}.</p>" if names else ""
    took = f"<p>Pool of {data['pool']:,}. Encoding took {seconds['encoding']:.0f} s, all {seconds['total']:.0f} s.</p>"
    return section("How it was measured", f"{terms(_DEFINITIONS)}{took}{left_out}")


def _at_ten(found: dict[str, Any]) -> str:
    """Return 10, or the largest measured k in a smaller database."""
    best: str = max((k for k in found["precision"] if int(k) <= 10), key=int)  # noqa: PLR2004 - a page of results
    return best
