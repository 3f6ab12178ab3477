"""Open a network: the encoder, and the decode workers for it."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import ImagePreparer
from app.search.decode.sandbox import DecodeConfig, Sandbox
from app.search.encode.batching import Encoder, open_encoder
from app.settings import Settings
from app.startup import supervision as startup
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info


@dataclass(frozen=True)
class OpenNetwork:
    """An open network: its encoder, its preparer, and a function that interrupts all decoding at once."""

    info: CheckpointInfo
    encoder: Encoder
    preparer: ImagePreparer
    interrupt: Callable[[], None] = lambda: None


# The signature of `open_network`; takes a checkpoint by the name that the catalogue has for it.
NetworkOpener = Callable[[Settings, str], AbstractContextManager[OpenNetwork]]


class SharedNetworks:
    """Networks that are open in this process; index versions of one network share it."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[OpenNetwork, ExitStack]] = {}
        self._users = Counter[str]()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, checkpoint: str, opener: AbstractContextManager[OpenNetwork]) -> Iterator[OpenNetwork]:
        """Use a checkpoint's network; the first user opens it, the last one closes it."""
        with self._lock:
            if checkpoint not in self._open:
                stack = ExitStack()
                self._open[checkpoint] = stack.enter_context(opener), stack
            self._users[checkpoint] += 1
            network, _ = self._open[checkpoint]
        try:
            yield network
        finally:
            with self._lock:
                self._users[checkpoint] -= 1
                last = None if self._users[checkpoint] else self._open.pop(checkpoint)[1]
            if last is not None:
                last.close()


@contextmanager
def open_network(settings: Settings, checkpoint: str | Path) -> Iterator[OpenNetwork]:
    """Open a checkpoint and start its decode workers, which import what they need while the network is compiled."""
    startup.step(f"opening the network {checkpoint}")
    with closing(start_decode_workers(settings, read_info(find_checkpoint(checkpoint)))) as prepare:
        cache = model_cache_dir(settings)
        encoder, info = open_encoder(checkpoint, settings.device, settings.inference_precision, cache)
        with closing(encoder):
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
