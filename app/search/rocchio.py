"""Combine several examples into one query: Rocchio's formula, on F7 and on codes.

The query has the direction of the weighted mean of the examples to find, less `UNLIKE_FRACTION` of the weighted mean of
those to avoid (Rocchio, Relevance Feedback in Information Retrieval, 1971). Sums are in one order and without fused
operations, so that every machine computes the same query.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInputError
from app.search.examples import Example
from app.search.index import Feature, Index
from app.search.pool import Projections
from app.search.ranking import CodeQuery, EncodedQuery
from app.search.types import Encodings
from models.checkpoint.info import FeatureNorm
from models.network.codes import Codes, Floats, unpack
from models.network.latent_layer import LatentLayer

# Each example's part of the query, `(n,)`: positive parts add up to 1, negative ones to -UNLIKE_FRACTION.
Shares = NDArray[np.float64]

# The fraction is measured by `benchmarks/examples.py`.
UNLIKE_FRACTION = 0.5
# The share of an example that is alone.
ALONE: Shares = np.ones(1)
# A sum is zero if it is shorter than this part of what it is the sum of.
_ZERO = 1e-6


def shares_of(examples: Sequence[Example], unlike_fraction: float = UNLIKE_FRACTION) -> Shares:
    """Return each example's part of the query, `(n,)`, by its weight; some example of each side has a positive one."""
    weights, unlike = (np.array([getattr(example, name) for example in examples]) for name in ("weight", "unlike"))
    shares = np.zeros(len(examples))
    for side, total in ((~unlike, 1.0), (unlike, -unlike_fraction)):
        if side.any():
            # First to at most 1, because the sum of large weights may overflow.
            scaled = weights[side] / weights[side].max()
            shares[side] = total * scaled / scaled.sum()
    return shares


def combine(
    examples: Encodings, shares: Shares, index: Index, latent: LatentLayer | None, norm: FeatureNorm
) -> EncodedQuery:
    """Combine examples into one query. One example alone is the query, unchanged.

    Args:
        examples: the encoded examples.
        shares: each one's part of the query, `(n,)`.
        index: index to search.
        latent: H over stored F7, if the index version's codes are computed with it.
        norm: whether the network's F7 is scaled to unit length.

    Raises:
        InvalidInputError: the examples cancel each other out.
    """
    stored = index.as_stored(examples.features)
    coded = [CodeQuery(code) for code in examples.codes] if latent is None else _code_queries(latent, stored)
    if len(shares) == 1:
        return EncodedQuery(examples.features[0], coded[0])
    feature = combine_features(stored, shares, norm)
    if latent is not None:
        (query,) = _code_queries(latent, index.as_stored(feature[None]))
    else:
        votes = combine_codes(examples.codes, shares)
        query = CodeQuery(np.packbits(votes > 0), votes)
    return EncodedQuery(feature, query, [one for one, share in zip(coded, shares, strict=True) if share > 0])


def _code_queries(latent: LatentLayer, features: Floats) -> list[CodeQuery]:
    """Return the codes and projections of F7 `(n, d)` as the index stores it, so that an image and its upload agree."""
    return [CodeQuery(np.packbits(projections > 0), projections) for projections in latent.projections(features)]


def combine_features(features: Floats, shares: Shares, norm: FeatureNorm) -> Feature:
    """Combine F7 `(n, d)` of examples into that of the query `(d,)`, of unit length if the network's F7 is.

    Raises:
        InvalidInputError: the examples cancel each other out.
    """
    combined = _sum(features.astype(np.float64), shares)
    length = _length(combined)
    if length <= _ZERO * sum(abs(share) * _length(feature) for share, feature in zip(shares, features, strict=True)):
        raise InvalidInputError(
            "unlike", "cancels out what is to be found, and no direction remains to search in. Leave out some examples."
        )
    # Parts that add up to 1 keep raw F7 on its scale; a shorter vector would find images with small F7.
    combined /= length if norm == "unit" else shares.sum()
    return combined.astype(np.float32)


def combine_codes(codes: Codes, shares: Shares) -> Projections:
    """Combine codes `(n, bits / 8)` of examples into projections of the query `(bits,)`: weighted votes on each bit.

    A bit votes +1, or -1 if it is not set. So the asymmetric distance between these projections and a code is, except
    for a constant, the sum of the Hamming distances between the code and those of the examples, each times its share.
    """
    return _sum(2.0 * unpack(codes) - 1.0, shares)


def _sum(rows: NDArray[np.floating], shares: Shares) -> NDArray[np.float64]:
    """Add rows `(n, d)`, each times its share; not a matrix product, whose rounding depends on the machine."""
    total: NDArray[np.float64] = (rows * shares[:, None]).sum(axis=0)
    return total


def _length(vector: NDArray[np.floating]) -> float:
    return math.sqrt(math.fsum(np.square(vector, dtype=np.float64)))
