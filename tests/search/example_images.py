"""Examples of searches, for tests: encoded images, and uploads of them."""

from collections.abc import Mapping, Sequence

from app.search.examples import Example, Field, Source, Upload, make_examples
from models.checkpoint.info import FeatureNorm
from tests.search.test_pipeline import png

NORMS: tuple[FeatureNorm, ...] = ("raw", "unit")


def upload(at: int) -> Upload:
    return Upload(f"{at}.png", lambda: png(at))


def examples(
    like: Sequence[Source], unlike: Sequence[Source] = (), weights: Mapping[Field, Sequence[float]] | None = None
) -> list[Example]:
    """Examples with uploads in fields of their own."""
    sources: dict[Field, list[Source]] = {
        "image": [one for one in like if isinstance(one, Upload)],
        "like": [one for one in like if not isinstance(one, Upload)],
        "unlike_image": [one for one in unlike if isinstance(one, Upload)],
        "unlike": [one for one in unlike if not isinstance(one, Upload)],
    }
    return make_examples(sources, weights or {})
