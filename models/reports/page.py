"""Evaluation report as a self-contained HTML page with inline styles, plots and images.

Everything in an image or plot is also in a table or in text.
"""

import base64
from typing import Any

from models.reports.plots import LABELS
from models.reports.templating import Table, number, render

_QUERY_ORIGINS = {
    "test": "test pictures",
    "validation": "validation pictures",
    "held out": "held-out pictures",
    "drawn": "pictures drawn at random, which may be training data,",
}
_MEANINGS = {
    "es": "exhaustive search: F7 alone, over the whole database",
    "hds": "both steps: codes find the pool, F7 ranks it",
    "bcs": "codes alone, by Hamming distance",
    "imagenet": "F7 of the same backbone before training, ImageNet weights only, raw",
}


def page(found: dict[str, Any], drawn: dict[str, str], sheets: dict[str, bytes], suspects: bytes | None = None) -> str:
    """Render the page.

    Args:
        found: content of `metrics.json`.
        drawn: SVG by name: `precision`, `recall`, `bits`.
        sheets: WebP by mode.
        suspects: WebP of images whose label is probably wrong; None without any.
    """
    modes, unseen = found["modes"], found["unseen"]
    tables = {
        "modes": _modes_table(modes),
        "recall": _recall_table(modes),
        "norms": _norms_table(found["feature_norm"]),
    }
    if (labels := found.get("labels")) is not None:
        tables |= {"confused": _confused_table(labels["confused"]), "suspects": _suspects_table(labels)}
    if unseen is not None:
        tables["unseen"] = _modes_table(unseen["modes"])
    return render(
        "models.reports",
        "evaluation.html",
        **{"labels": None, **found},
        k=_at_ten(modes["hds"]),
        names=LABELS,
        suspects=base64.b64encode(suspects).decode() if suspects else None,
        meanings=_MEANINGS,
        origin=_QUERY_ORIGINS[found["data"]["queries_from"]],
        plots=drawn,
        sheets={mode: base64.b64encode(image).decode() for mode, image in sheets.items()},
        tables=tables,
    )


def _modes_table(modes: dict[str, Any]) -> Table:
    ks = list(next(iter(modes.values()))["precision"])
    head = ["mode", *(f"P@{k}" for k in ks), "mAP@1000", "mAP"]
    rows = [
        [LABELS[mode], *(number(found["precision"][k]) for k in ks), number(found["map_1000"]), number(found["map"])]
        for mode, found in modes.items()
    ]
    return head, rows


def _recall_table(modes: dict[str, Any]) -> Table:
    curves = [found["precision_by_recall"] for found in modes.values()]
    last = len(curves[0]) - 1
    rows = [
        [f"{step / last:.2f}", *(number(value) for value in values)]
        for step, values in enumerate(zip(*curves, strict=True))
    ]
    return ["recall", *(LABELS[mode] for mode in modes)], rows


def _norms_table(norms: dict[str, Any]) -> Table:
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
    return head, rows


def _confused_table(confused: list[dict[str, Any]]) -> Table:
    rows = [[f"{one['label']} → {one['other']}", f"{one['images']:,} of {one['of']:,}"] for one in confused]
    return ["label → nearest label", "pictures"], rows


def _suspects_table(labels: dict[str, Any]) -> Table:
    rows = [
        [one["file"], one["label"], one["suggested"], f"{one['votes']} of {labels['neighbours']}"]
        for one in labels["suspects"]
    ]
    return ["picture", "its label", "probably", "neighbours"], rows


def _at_ten(found: dict[str, Any]) -> str:
    """Return 10, or the largest measured k in a smaller database."""
    best: str = max((k for k in found["precision"] if int(k) <= 10), key=int)  # noqa: PLR2004 - a page of results
    return best
