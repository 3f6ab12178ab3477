"""Measure a quantised network beside its source, on the same images: F7, codes, search results and time."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.checkpoint.info import CheckpointInfo
from models.data.dataset import LoadedImages
from models.evaluation import metrics
from models.network.codes import Codes, Floats, binarise, unit_length
from models.network.openvino_runtime import Images, OpenVinoRuntime

K, MAX_QUERIES = 10, 500
MODES = ("es", "hds")
# The sample is smaller than a catalogue, so the pool is too: with all images in the pool, codes would not matter.
_MAX_POOL_SHARE = 0.1
_BATCH, _CORE_BATCH = 16, 4
# Timing takes turns; in each turn a network is called this many times.
_ROUNDS, _CALLS = 9, 5

Progress = Callable[[str, int, int], None]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Scores:
    """Means over the queries in one mode.

    Attributes:
        precision: share of the ten results that have the query's label; None without labels.
        recall: share of the ten nearest images by F7 in f32 that are among the ten results.
    """

    precision: float | None
    recall: float


@dataclass(frozen=True)
class Measures:
    """Search results and time of one network.

    Attributes:
        es: exhaustive search by F7.
        hds: search by codes, then by F7 over the pool.
        milliseconds: time to encode one image that comes alone, on all cores.
        milliseconds_in_batches: time for each image when each core takes batches of four.
    """

    es: Scores
    hds: Scores
    milliseconds: float
    milliseconds_in_batches: float


@dataclass(frozen=True)
class Comparison:
    """A quantised network beside its source.

    Attributes:
        images: number of images, none of which was used for calibration.
        queries: number of them that were queries over all others.
        pool: candidates of the coarse search in `hds`.
        cosine: mean cosine of an image's F7 in f32 and quantised.
        distance: mean L2 between them, with F7 normalised as the network requires.
        nearest: mean L2 from a query to the nearest other image, in f32.
        bits: mean number of bits of a code that differ.
        f32: measures of the source.
        quantised: measures of the quantised network.
    """

    images: int
    queries: int
    pool: int
    cosine: float
    distance: float
    nearest: float
    bits: float
    f32: Measures
    quantised: Measures


@dataclass(frozen=True)
class _Encoded:
    """Codes and F7, normalised as the network requires."""

    codes: Codes
    features: Floats


def compare(
    before: OpenVinoRuntime, after: OpenVinoRuntime, images: LoadedImages, info: CheckpointInfo, progress: Progress
) -> Comparison:
    """Measure a quantised network beside its source.

    Args:
        before: the source, with raw F7.
        after: the quantised network, with raw F7.
        images: images as the networks read them; labels may be -1 for none.
        info: description of the source.
        progress: called with the current step, the number done, and the total.
    """
    count = len(images.images)
    pool = max(min(info.pool, round(_MAX_POOL_SHARE * count)), K)
    full = _encode(before, images.images, info, partial(progress, "encoding in f32"))
    low = _encode(after, images.images, info, partial(progress, "encoding quantised"))
    queries = np.random.default_rng(0).permutation(count)[:MAX_QUERIES]
    found = {name: _search(encoded, queries, pool) for name, encoded in (("f32", full), ("quantised", low))}
    nearest = np.array([ranking[0] for ranking in found["f32"]["es"]])
    times = _times({"f32": before, "quantised": after}, images.images, partial(progress, "timing"))
    exact = found["f32"]["es"]
    measures = {
        name: Measures(
            _score(results["es"], queries, images.labels, exact),
            _score(results["hds"], queries, images.labels, exact),
            *times[name],
        )
        for name, results in found.items()
    }
    return Comparison(
        images=count,
        queries=len(queries),
        pool=pool,
        cosine=float(np.mean(_cosines(full.features, low.features))),
        distance=float(np.mean(_lengths(full.features - low.features))),
        nearest=float(np.mean(_lengths(full.features[queries] - full.features[nearest]))),
        bits=float(np.mean(np.bitwise_count(full.codes ^ low.codes).sum(axis=1))),
        f32=measures["f32"],
        quantised=measures["quantised"],
    )


def _encode(runtime: OpenVinoRuntime, images: Images, info: CheckpointInfo, report: Report) -> _Encoded:
    codes, features = list[Codes](), list[Floats]()
    for first in range(0, len(images), _BATCH):
        activations, f7 = runtime(images[first : first + _BATCH])
        codes.append(binarise(activations))
        features.append(f7)
        report(min(first + _BATCH, len(images)), len(images))
    found = np.concatenate(features)
    return _Encoded(np.concatenate(codes), unit_length(found) if info.feature_norm == "unit" else found)


def _search(encoded: _Encoded, queries: NDArray[np.int64], pool: int) -> dict[str, list[metrics.Ranking]]:
    """Search with some images among all others; return the ten results of each query by mode."""
    found: dict[str, list[metrics.Ranking]] = {mode: [] for mode in MODES}
    near = metrics.squared_distances(encoded.features[queries], encoded.features)
    for query, distances in zip(queries, near, strict=True):
        coarse = metrics.rank_by_hamming(encoded.codes[query], encoded.codes)
        # The query itself is in the pool too.
        rankings = {"es": metrics.rank(distances), "hds": metrics.rerank(coarse, distances, pool + 1)}
        for mode, ranking in rankings.items():
            found[mode].append(ranking[ranking != query][:K])
    return found


def _score(
    results: list[metrics.Ranking],
    queries: NDArray[np.int64],
    labels: NDArray[np.int64],
    exact: list[metrics.Ranking],
) -> Scores:
    recall = [len(np.intersect1d(some, right)) / K for some, right in zip(results, exact, strict=True)]
    precision = [
        metrics.precision_at(labels[some] == labels[query], K)
        for some, query in zip(results, queries, strict=True)
        if labels[query] >= 0
    ]
    return Scores(float(np.mean(precision)) if precision else None, float(np.mean(recall)))


def _times(runtimes: Mapping[str, OpenVinoRuntime], images: Images, report: Report) -> dict[str, tuple[float, float]]:
    """Time an image alone, and one in batches on every core, in milliseconds; the runtimes take turns."""
    alone, batched = ({name: list[float]() for name in runtimes} for _ in range(2))
    for turn in range(_ROUNDS):
        for name, runtime in runtimes.items():
            image = images[turn % len(images)][None]
            alone[name] += [_seconds(partial(runtime, image)) for _ in range(_CALLS)]
            batched[name].append(_seconds(partial(_on_all_cores, runtime, images[:_CORE_BATCH])) / _per_round(runtime))
        report(turn + 1, _ROUNDS)
    # The first round compiles and allocates.
    return {
        name: (1000 * float(np.median(alone[name][_CALLS:])), 1000 * float(np.median(batched[name][1:])))
        for name in runtimes
    }


def _on_all_cores(runtime: OpenVinoRuntime, batch: Images) -> None:
    with ThreadPoolExecutor(runtime.parallel_batches) as threads:
        list(threads.map(runtime.on_one_core, [batch] * (_CALLS * runtime.parallel_batches)))


def _per_round(runtime: OpenVinoRuntime) -> int:
    return _CALLS * runtime.parallel_batches * _CORE_BATCH


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _cosines(some: Floats, others: Floats) -> Floats:
    cosines: Floats = np.einsum("ij,ij->i", unit_length(some), unit_length(others))
    return cosines


def _lengths(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1)
    return lengths
