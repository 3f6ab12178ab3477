"""Open a network: the encoder, and the decode workers for it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import ImagePreparer
from app.search.decode.sandbox import DecodeConfig, Sandbox
from app.search.encode.batching import Encoder, open_encoder
from app.settings import Settings
from app.startup import supervision as startup
from models.checkpoint.info import CheckpointInfo


@dataclass(frozen=True)
class OpenNetwork:
    """An open network: its encoder, its preparer, and a function that interrupts all decoding at once."""

    info: CheckpointInfo
    encoder: Encoder
    preparer: ImagePreparer
    interrupt: Callable[[], None] = lambda: None


# The signature of `open_network`; takes a checkpoint by the name that the catalogue has for it.
NetworkOpener = Callable[[Settings, str], AbstractContextManager[OpenNetwork]]


@contextmanager
def open_network(settings: Settings, checkpoint: str | Path) -> Iterator[OpenNetwork]:
    """Open a checkpoint and start its decode workers."""
    startup.step(f"opening the network {checkpoint}")
    encoder, info = open_encoder(checkpoint, settings.device, settings.inference_precision, model_cache_dir(settings))
    with closing(encoder), closing(start_decode_workers(settings, info)) as prepare:
        yield OpenNetwork(info, encoder, prepare, prepare.interrupt)


def start_decode_workers(settings: Settings, network: CheckpointInfo) -> Sandbox:
    """Start this server process's share of the decode workers."""
    workers = settings.decode_workers or os.cpu_count() or 1
    job = DecodeConfig(network.preprocess, decode_limits(settings))
    return Sandbox(job, max(workers // settings.workers, 1), settings.max_decode_cpu_seconds)


def decode_limits(settings: Settings) -> DecodeLimits:
    """Limits on images, from the settings."""
    return DecodeLimits(settings.max_image_bytes, settings.max_image_pixels)


def model_cache_dir(settings: Settings) -> Path:
    """The cache folder of networks converted for this machine; it may be deleted at any time."""
    return settings.model_cache_dir or settings.data_dir / "networks"
