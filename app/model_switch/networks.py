"""Opens a network: the encoder, and the processes that decode images for it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import Preparer
from app.search.decode.sandbox import Job, Sandbox
from app.search.encode.batching import Encoder, open_encoder
from app.settings import Settings
from app.startup import supervision as startup
from models.checkpoint.info import CheckpointInfo


@dataclass(frozen=True)
class OpenNetwork:
    """A network that runs, what prepares pictures for it, and what ends that at once, whatever it is doing."""

    info: CheckpointInfo
    encoder: Encoder
    prepare: Preparer
    interrupt: Callable[[], None] = lambda: None


# Opens a network by what the catalogue calls it, as `open_network` does.
Networks = Callable[[Settings, str], AbstractContextManager[OpenNetwork]]


@contextmanager
def open_network(settings: Settings, checkpoint: str | Path) -> Iterator[OpenNetwork]:
    """Opens a checkpoint, and starts the processes that decode pictures for it."""
    startup.step(f"opening the network {checkpoint}")
    encoder, info = open_encoder(checkpoint, settings.device, settings.inference_precision, model_cache(settings))
    with closing(encoder), closing(open_sandbox(settings, info)) as prepare:
        yield OpenNetwork(info, encoder, prepare, prepare.interrupt)


def open_sandbox(settings: Settings, network: CheckpointInfo) -> Sandbox:
    """Starts the processes that decode pictures, this worker's share of them."""
    decoders = settings.decode_workers or os.cpu_count() or 1
    job = Job(network.preprocess, limits_of(settings))
    return Sandbox(job, max(decoders // settings.workers, 1), settings.max_decode_cpu_seconds)


def limits_of(settings: Settings) -> DecodeLimits:
    """Returns the settings' limits on pictures."""
    return DecodeLimits(settings.max_image_bytes, settings.max_image_pixels)


def model_cache(settings: Settings) -> Path:
    """Returns the folder of networks as converted for this machine; it may be deleted at any time."""
    return settings.model_cache_dir or settings.data_dir / "networks"
