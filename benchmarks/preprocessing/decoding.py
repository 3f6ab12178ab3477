"""Time of decoding, cutting and colour management of shipped models, over that of stretching without colours.

    python -m benchmarks.preprocessing.decoding

Images are JPEGs of several sizes without a profile, with sRGB's, and with Display P3's. Each model's time is divided by
that of `general`, which stretches and ignores profiles, in the same run.
"""

import statistics
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

from PIL import Image, ImageCms

from app.demo import demo_images
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from models.checkpoint.info import find_checkpoint, read_info

MODELS = ("general", "general-small", "general-large")
SIZES = ((320, 240), (640, 480), (1600, 1200), (4000, 3000))
ROUNDS = 15


def main() -> None:
    """Measure and print a table."""
    models = {name: read_info(find_checkpoint(name)).preprocess for name in MODELS}
    preparers = {name: InProcessPreparer(preprocess, DecodeLimits()) for name, preprocess in models.items()}
    print(f"{'image':28}" + "".join(f"{name:>22}" for name in MODELS) + "      ms, and over general")
    for name, data in images():
        seconds = time_interleaved(preparers, data)
        first = seconds[MODELS[0]]
        shown = (f"{1000 * seconds[model]:12.2f} {seconds[model] / first:9.2f}" for model in MODELS)
        print(f"{name:28}" + "".join(shown))


def images() -> Iterator[tuple[str, bytes]]:
    """Yield names and JPEG files."""
    drawing = next(islice(demo_images(), 40, None)).image.convert("RGB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for width, height in SIZES:
        for name, profile in (("untagged", None), ("sRGB", srgb)):
            file = BytesIO()
            drawing.resize((width, height), Image.Resampling.BICUBIC).save(
                file, "JPEG", quality=90, icc_profile=profile
            )
            yield f"{width} × {height}, {name}", file.getvalue()


def time_interleaved(preparers: dict[str, InProcessPreparer], data: bytes) -> dict[str, float]:
    """Return each preparer's median seconds, measured in turns."""
    taken: dict[str, list[float]] = {name: [] for name in preparers}
    for _ in range(ROUNDS):
        for name, prepare in preparers.items():
            begun = time.perf_counter()
            prepare(data)
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


if __name__ == "__main__":
    main()
