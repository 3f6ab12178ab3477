"""How well codes find the exact nearest neighbours, on a sample of a catalogue's own images."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.quality.content import NO_LABEL, CatalogueContent, blocks
from app.quality.neighbours import Neighbours, exact_neighbours
from app.quality.pools import select_others
from app.search.local.fine import l2_distances
from app.search.local.index import LocalIndex
from models.checkpoint.similarity import AnchoredCurve, Curve, fit_curve_to
from models.network.codes import hamming
from models.network.latent_layer import LatentLayer

K = 10
# Sizes from which a pool is chosen, and the recall that it must have. The sample's standard error is about 0.002, so
# that the catalogue's own recall is above 0.99.
POOLS = (30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 2000, 5000)
ENOUGH = 0.994
_QUERIES = 300
# Distances that differ by less than this factor are ties.
_TOLERANCE = 1.000001


@dataclass(frozen=True)
class Sample:
    """Images of a catalogue as queries: their rows `(q,)`, and their exact nearest neighbours."""

    rows: NDArray[np.int64]
    exact: Neighbours


@dataclass(frozen=True)
class CodeRecall:
    """Quality of codes on a sample.

    Attributes:
        bits: length of a code.
        codes: share of the ten exact nearest neighbours that are the ten nearest by code.
        pool: number of candidates.
        recall: share of the ten exact nearest neighbours that the pool holds.
        precision: share of the ten nearest by code that have the query's label; None without labels.
    """

    bits: int
    codes: float
    pool: int
    recall: float
    precision: float | None


def draw_sample(content: CatalogueContent, vectors: VectorFile, seed: int = 0) -> Sample:
    """Draw queries, and find their neighbours in one pass over F7."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(content))[:_QUERIES])
    return Sample(rows, exact_neighbours(content, vectors, rows, min(K, len(content) - 1)))


def recode(content: CatalogueContent, vectors: VectorFile, latent: LatentLayer) -> CatalogueContent:
    """Return the content with codes by another H, computed block by block."""
    codes = [latent.codes(content.features(vectors, np.arange(part.start, part.stop))) for part in blocks(len(content))]
    return replace(content, entries=replace(content.entries, codes=np.concatenate(codes)))


def code_recall(
    content: CatalogueContent,
    vectors: VectorFile,
    sample: Sample,
    latent: LatentLayer | None = None,
) -> Callable[[int], CodeRecall]:
    """Return a function that measures codes with a pool of a size.

    Args:
        content: the catalogue, with the codes to measure.
        vectors: its F7.
        sample: the queries.
        latent: H by which a coarse step orders candidates; None for the Hamming distance alone.
    """
    index = LocalIndex(bits := 8 * content.entries.codes.shape[1], vectors, lists=False)
    index.add(content.entries)

    def measure(pool: int) -> CodeRecall:
        size = min(pool, len(content) - 1)
        recall, codes, precision = (np.full(len(sample.rows), np.nan) for _ in range(3))
        for at, row in enumerate(sample.rows):
            feature = content.features(vectors, sample.rows[at : at + 1])[0]
            found = select_others(content, index, int(row), size, feature, latent)
            near = l2_distances(feature, vectors.mapped_rows(found.slots), found.slots) <= (
                sample.exact.distances[at, -1] * _TOLERANCE
            )
            k = sample.exact.rows.shape[1]
            recall[at], codes[at] = min(int(near.sum()), k) / k, min(int(near[:k].sum()), k) / k
            precision[at] = _precision(content, int(row), found.ids[:k])
        labelled = precision[~np.isnan(precision)]
        mean = float(labelled.mean()) if len(labelled) else None
        return CodeRecall(bits, float(codes.mean()), size, float(recall.mean()), mean)

    return measure


def codes_curve(
    content: CatalogueContent, vectors: VectorFile, sample: Sample, similarity: Curve, seed: int = 0
) -> AnchoredCurve | None:
    """Fit the similarity of codes to that of F7, on pairs of queries with neighbours and with random images.

    Returns:
        None if all codes are equal.
    """
    others = np.random.default_rng(seed).integers(0, len(content), sample.exact.rows.shape)
    distances, values = list[NDArray[np.int32]](), list[float]()
    for row, rows in zip(sample.rows, np.concatenate([sample.exact.rows, others], axis=1), strict=True):
        slots = content.entries.slots[rows]
        feature = content.features(vectors, np.array([row]))[0]
        values += map(similarity, l2_distances(feature, vectors.mapped_rows(slots), slots).tolist())
        distances.append(hamming(content.entries.codes[row], content.entries.codes[rows]))
    apart = np.concatenate(distances).astype(np.float64)
    return fit_curve_to(apart, np.array(values)) if apart.any() else None


def smallest_pool(measure: Callable[[int], CodeRecall]) -> CodeRecall:
    """Return the result of the smallest pool of `POOLS` with enough recall, or else of the largest.

    The search is binary, because recall grows with the pool.
    """
    few, many, found = 0, len(POOLS) - 1, dict[int, CodeRecall]()
    while few < many:
        middle = (few + many) // 2
        found[middle] = measure(POOLS[middle])
        few, many = (few, middle) if found[middle].recall >= ENOUGH else (middle + 1, many)
    return found[few] if few in found else measure(POOLS[few])


def _precision(content: CatalogueContent, row: int, ids: NDArray[np.int64]) -> float:
    """Return the share of labelled results that have the query's label; NaN if the query or all results have none."""
    labels = content.labels[np.searchsorted(content.entries.ids, ids)]
    labelled = labels[labels != NO_LABEL]
    own = content.labels[row]
    return float((labelled == own).mean()) if own != NO_LABEL and len(labelled) else float("nan")
