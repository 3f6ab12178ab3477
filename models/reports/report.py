"""An evaluation as files: `metrics.json`, plots, images of what queries found, and one page that shows all of it.

Knows nothing of networks; `models/evaluation/evaluate.py` calls it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.reports import plots
from models.reports.images import Sample, sheet
from models.reports.page import page

# About what a report takes.
_SPACE = 4_000_000


def require_writable(out: Path) -> None:
    """Find out before the work, not after it, that the results have no place.

    Raises:
        ModelError: the folder cannot be made or written to, or its disk is full.
    """
    probe = out / ".probe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_SPACE))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{out} cannot be written to: {error.strerror or error}.") from error


def write(found: dict[str, Any], samples: list[Sample], out: Path) -> None:
    """Write everything into `out`, replacing what an earlier evaluation left.

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
    files["metrics.json"] = (json.dumps(found, indent=2, allow_nan=False) + "\n").encode()
    files["report.html"] = page(found, drawn, sheets).encode()
    write_files(files, out)


def write_files(files: Mapping[str, bytes], out: Path) -> None:
    """Write files by name into a folder that is there, each whole or not at all.

    Raises:
        ModelError: one cannot be written.
    """
    try:
        for name, content in files.items():
            _replace(out / name, content)
    except OSError as error:
        raise ModelError(f"{out} cannot be written to: {error.strerror or error}.") from error


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
