"""Suggest the known name that is closest to an unknown one."""

from collections.abc import Sequence
from difflib import get_close_matches

# Each line: a name of this API, and its synonyms in other services' APIs.
_SYNONYMS = (
    ("k", "top_k", "topk", "limit", "n", "num", "count", "size", "max_results", "num_results", "page_size", "per_page"),
    ("limit", "k", "top_k", "topk", "n", "num", "count", "size", "max_results", "num_results", "page_size", "per_page"),
    ("text", "q", "query", "search", "words", "keywords"),
    ("filter", "where", "query", "q", "conditions", "metadata", "meta"),
    ("metadata", "meta", "fields", "payload", "payloads", "data", "tags", "label", "key"),
    ("cursor", "page", "offset", "after", "skip", "start", "next", "next_cursor"),
    ("label", "class", "category", "tag"),
    ("group_by", "distinct", "by"),
    ("min_similarity", "score", "min_score", "score_threshold", "threshold", "similarity", "certainty"),
    ("max_distance", "threshold", "radius", "epsilon"),
    ("image", "images", "file", "files", "img", "photo", "picture", "upload", "query"),
    ("images", "image", "file", "files", "img", "photos", "photo", "pictures", "picture", "upload"),
    ("archive", "file", "files", "zip", "tar", "upload", "images", "data"),
    ("crop", "box", "bbox", "region", "rect"),
    ("sort", "order", "order_by", "orderby", "sort_by", "sortby", "ordering"),
    ("mode", "method", "type", "algorithm", "search_mode"),
    ("pool", "ef", "candidates", "num_candidates", "max_candidates"),
)
# Share of equal characters from which two names count as similar.
_CUTOFF = 0.6
# Longer names are not compared, because that takes time in proportion to their length.
_MAX_CHARACTERS = 64


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the known name nearest to `name`; None if none is near.

    Spelling comes first (`labels`, `Min-Similarity`), then words that the name contains (`top_k`), then names that
    other services use for the same thing (`where`).
    """
    if len(name) > _MAX_CHARACTERS:
        return None
    plain = name.casefold().replace("-", "_").removesuffix("[]")
    if close := get_close_matches(plain, known, n=1, cutoff=_CUTOFF):
        return close[0]
    words = plain.split("_")
    return next((one for one in known if one in words), None) or next(
        (own for own, *others in _SYNONYMS if own in known and plain in others), None
    )
