"""Write an evaluation's files: `metrics.json`, plots, contact sheets, and a page with all of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.reports import plots
from models.reports.images import Sample, sheet
from models.reports.page import page

# Approximate size of a report in bytes.
_SPACE = 4_000_000


def require_writable(out: Path) -> None:
    """Check before the work that the output folder is writable and has space.

    Raises:
        ModelError: the folder cannot be created or written to, or its disk is full.
    """
    probe = out / ".probe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_SPACE))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{out} is not writable: {error.strerror or error}.") from error


def write(found: dict[str, Any], samples: list[Sample], out: Path, suspects: list[Sample] | None = None) -> None:
    """Write all files into `out`, replacing those of an earlier evaluation.

    Args:
        found: content of `metrics.json`.
        samples: results of sample queries.
        out: the folder.
        suspects: images whose label is probably wrong, with their neighbours.

    Raises:
        ModelError: a file cannot be written.
    """
    drawn = {
        "precision": plots.precision_plot(found["modes"]),
        "recall": plots.recall_plot(found["modes"]),
        "bits": plots.bits_plot(found["codes"]["ones"]),
    }
    sheets = {mode: sheet(samples, mode) for mode in found["modes"]}
    files = {f"{name}.svg": svg.encode() for name, svg in drawn.items()}
    files |= {f"results_{mode}.webp": image for mode, image in sheets.items()}
    labels = sheet(suspects, "suspects") if suspects else None
    # An earlier evaluation's sheet would show other images.
    (out / "labels.webp").unlink(missing_ok=True)
    if labels:
        files["labels.webp"] = labels
    files["metrics.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["report.html"] = page(found, drawn, sheets, labels).encode()
    write_files(files, out)


def write_files(files: Mapping[str, bytes], out: Path) -> None:
    """Write files by name into an existing folder, each atomically.

    Raises:
        ModelError: a file cannot be written.
    """
    try:
        for name, content in files.items():
            _replace(out / name, content)
    except OSError as error:
        raise ModelError(f"{out} is not writable: {error.strerror or error}.") from error


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
