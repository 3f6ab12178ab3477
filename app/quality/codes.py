"""How well a catalogue's codes use their bits, and which bits say the same."""

from dataclasses import asdict
from typing import Any

import numpy as np

from app.quality.content import NO_LABEL, Content
from models.evaluation.metrics import code_health
from models.network.codes import unpack

# So many codes tell as much as all.
_ENOUGH = 50_000
# Two bits that agree, or disagree, this much say almost the same.
ALIKE = 0.8
_SHOWN = 10


def health(content: Content) -> dict[str, Any]:
    """Measures the codes, of a sample where there are very many; pictures without a label collide with nobody."""
    rows = np.unique(np.linspace(0, len(content) - 1, min(len(content), _ENOUGH)).astype(np.int64))
    codes, labels = content.entries.codes[rows], content.labels[rows]
    known = labels != NO_LABEL
    found = asdict(code_health(codes, np.zeros(len(codes), np.int64)))
    colliding = code_health(codes[known], labels[known]).colliding if known.any() else None
    pairs = correlated(codes)
    return {
        **found,
        "ones": list(found["ones"]),
        "colliding": colliding,
        "alike": len(pairs),
        "most_alike": pairs[:_SHOWN],
    }


def correlated(codes: np.typing.NDArray[np.uint8]) -> list[tuple[int, int, float]]:
    """Returns the pairs of bits that say almost the same, with their correlation, the strongest first."""
    bits = unpack(codes).astype(np.float32)
    varying = np.flatnonzero(np.ptp(bits, axis=0) > 0)
    if len(varying) <= 1:
        return []
    correlation = np.triu(np.corrcoef(bits[:, varying], rowvar=False), 1)
    first, second = np.nonzero(np.abs(correlation) >= ALIKE)
    strengths = correlation[first, second]
    order = np.argsort(-np.abs(strengths), kind="stable")
    return [(int(varying[first[i]]), int(varying[second[i]]), float(strengths[i])) for i in order]
