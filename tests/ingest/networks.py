"""Two fake networks, to switch a catalogue between."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app.model_switch.networks import OpenNetwork, decode_limits
from app.search.decode.image import Crop
from app.search.decode.prepare import InProcessPreparer, PreparedImage
from app.search.encode.batching import NetworkInput
from app.search.types import Encodings
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

OTHER_NETWORK = replace(FAKE_NETWORK, name="other", fingerprint="0123456789abcdef")
OTHER_CHECKPOINT = FAKE_CHECKPOINT.with_name("other.json")


class OtherEncoder(FakeEncoder):
    """A fake encoder with inverted bits and reversed F7; counts the images that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0

    def before_preparing(self) -> None:
        """Called by `Preparing` for each image."""

    def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
        self.pictures += len(images)
        plain = super().encode_many(images)
        return Encodings(~plain.codes, plain.features[:, ::-1].copy())


class Preparing(InProcessPreparer):
    """A preparer that calls a fake encoder before each image."""

    def __init__(self, encoder: FakeEncoder, settings: Settings) -> None:
        super().__init__(FAKE_NETWORK.preprocess, decode_limits(settings))
        self._encoder = encoder

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        if isinstance(self._encoder, OtherEncoder):
            self._encoder.before_preparing()
        return super().__call__(data, thumbnail=thumbnail, crop=crop)


@contextmanager
def fake_networks(settings: Settings, checkpoint: str) -> Iterator[OpenNetwork]:
    """Open one of the two; same signature as `open_network`."""
    encoder, network = {"fake": (FakeEncoder(), FAKE_NETWORK), "other": (OtherEncoder(), OTHER_NETWORK)}[
        Path(checkpoint).stem
    ]
    yield OpenNetwork(network, encoder, InProcessPreparer(network.preprocess, decode_limits(settings)))
