"""Benchmark of training on a synthetic data set of the size of the paper's Yahoo-1M: speed, and memory growth.

    python -m benchmarks.training make FOLDER                       shards of small drawn images, 116 classes
    torchrun --nproc-per-node 2 -m benchmarks.training run FOLDER   a number of steps in each process, and their memory

Each class repeats a few images, because data loading is measured, not learning.
"""

import argparse
import json
import os
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import memory_of
from benchmarks.options import PAPERS_SIZE
from models.allocator import keep_freed_memory
from models.data.make_shards import add_member
from models.data.shards import CLASSES
from models.data.training_data import read
from models.training.config import TrainingConfig, epochs_for
from models.training.devices import pick_device, process_group
from models.training.progress import TrainingProgress
from models.training.state import create_state
from models.training.train import run_epoch

CLASS_COUNT, IMAGES_PER_CLASS, IMAGES_PER_SHARD = 116, 40, 4000
# Steps before the measurement: threads start, caches fill, memory is allocated.
WARM_UP_STEPS = 50
# Two measured steps give one duration.
MIN_STEPS = WARM_UP_STEPS + 2


class StepLimitError(Exception):
    """Raised to stop training after the wanted number of steps."""


@dataclass
class StepRecorder:
    """Progress callback that records time and memory of every step, and stops the run."""

    steps: int
    times: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def __call__(self, _progress: TrainingProgress) -> None:
        """Record the time and memory at the end of a step.

        Raises:
            StepLimitError: it was the last one.
        """
        self.times.append(time.perf_counter())
        self.memory.append(memory_of(os.getpid()))
        if len(self.times) == self.steps:
            raise StepLimitError


def make(folder: Path, images: int, side: int) -> None:
    """Write shards of the given number of images, shuffled as `lookalike make-shards` does."""
    folder.mkdir(parents=True)
    (folder / CLASSES).write_text("".join(f"class {number}\n" for number in range(CLASS_COUNT)))
    rng = np.random.default_rng(0)
    drawn = [[_drawing(rng, side) for _ in range(IMAGES_PER_CLASS)] for _ in range(CLASS_COUNT)]
    for number, begin in enumerate(range(0, images, IMAGES_PER_SHARD)):
        with tarfile.open(folder / f"train-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for at in range(begin, min(begin + IMAGES_PER_SHARD, images)):
                label = int(rng.integers(CLASS_COUNT))
                add_member(archive, f"{at:09}.jpg", drawn[label][int(rng.integers(IMAGES_PER_CLASS))])
                add_member(archive, f"{at:09}.cls", b"%d" % label)


def run(folder: Path, recipe: TrainingConfig, steps: int) -> dict[str, object]:
    """Train for a number of steps; return this process's measurements."""
    watch = StepRecorder(steps)
    keep_freed_memory()
    with process_group() as (rank, world):
        began = time.perf_counter()
        data = read(folder, recipe)
        read_in = time.perf_counter() - began
        state = create_state(recipe, data.classes, pick_device())
        with suppress(StepLimitError):
            run_epoch(state, data.training, recipe, epochs_for(recipe, len(data.training.labels)), watch, lambda: None)
    first, last = (
        int(np.median(part)) for part in (watch.memory[WARM_UP_STEPS : WARM_UP_STEPS + 20], watch.memory[-20:])
    )
    return {
        "rank": rank,
        "processes": world,
        "pictures": len(data.training.labels),
        "seconds_reading": round(read_in, 1),
        "steps": len(watch.times),
        "pictures_a_second": round(recipe.batch / float(np.median(np.diff(watch.times[WARM_UP_STEPS:]))), 1),
        "resident_megabytes_after_settling": first // 1_000_000,
        "resident_megabytes_at_the_end": last // 1_000_000,
    }


def main() -> None:
    """Run `make` or `run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", dest="images", type=int, default=PAPERS_SIZE)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    given = parser.parse_args()
    if given.what == "run" and given.steps < MIN_STEPS:
        parser.error(f"--steps must be {MIN_STEPS} or more: the first {WARM_UP_STEPS} are not measured.")
    if given.what == "make":
        make(given.folder, given.images, given.size)
    else:
        recipe = TrainingConfig(backbone=given.backbone, size=given.size, batch=given.batch, bits=48)
        print(json.dumps(run(given.folder, recipe, given.steps)), flush=True)


def _drawing(rng: np.random.Generator, side: int) -> bytes:
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    saved = BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(saved, "JPEG", quality=85)
    return saved.getvalue()


if __name__ == "__main__":
    main()
