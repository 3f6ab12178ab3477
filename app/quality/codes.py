"""Health of a catalogue's codes: entropy of bits, dead and correlated bits, collisions."""

from dataclasses import asdict
from typing import Any

import numpy as np

from app.quality.content import NO_LABEL, CatalogueContent
from models.evaluation.metrics import code_health
from models.network.codes import unpack

# Sample size for larger catalogues.
_SAMPLE = 50_000
# Bits with at least this absolute correlation are nearly redundant.
MIN_CORRELATION = 0.8
_MAX_LISTED = 10


def health(content: CatalogueContent) -> dict[str, Any]:
    """Measure the health of the codes, on a sample of large catalogues.

    Collisions are counted between different labels, so images without a label have none.
    """
    rows = np.unique(np.linspace(0, len(content) - 1, min(len(content), _SAMPLE)).astype(np.int64))
    codes, labels = content.entries.codes[rows], content.labels[rows]
    labelled = labels != NO_LABEL
    measured = asdict(code_health(codes, np.zeros(len(codes), np.int64)))
    colliding = code_health(codes[labelled], labels[labelled]).colliding if labelled.any() else None
    pairs = correlated_bits(codes)
    return {
        **measured,
        "ones": list(measured["ones"]),
        "colliding": colliding,
        "alike": len(pairs),
        "most_alike": pairs[:_MAX_LISTED],
    }


def correlated_bits(codes: np.typing.NDArray[np.uint8]) -> list[tuple[int, int, float]]:
    """Return the nearly redundant pairs of bits with their correlation, strongest first."""
    bits = unpack(codes).astype(np.float32)
    varying = np.flatnonzero(np.ptp(bits, axis=0) > 0)
    if len(varying) <= 1:
        return []
    correlation = np.triu(np.corrcoef(bits[:, varying], rowvar=False), 1)
    first, second = np.nonzero(np.abs(correlation) >= MIN_CORRELATION)
    strengths = correlation[first, second]
    order = np.argsort(-np.abs(strengths), kind="stable")
    return [(int(varying[first[i]]), int(varying[second[i]]), float(strengths[i])) for i in order]
