"""Two networks that cost nothing, to move a catalogue from one to the other and back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from app.model_switch.networks import OpenNetwork, limits_of
from app.search.decode.prepare import InProcess
from app.search.types import Encoded
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

OTHER_NETWORK = replace(FAKE_NETWORK, name="other", fingerprint="0123456789abcdef")
OTHER_CHECKPOINT = FAKE_CHECKPOINT.with_name("other.json")


class OtherEncoder(FakeEncoder):
    """Encodes like the fake, with every bit turned and F7 the other way round; remembers how much it did."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        self.pictures += len(images)
        plain = super().encode_many(images)
        return Encoded(~plain.codes, plain.features[:, ::-1].copy())


@contextmanager
def fake_networks(settings: Settings, checkpoint: str) -> Iterator[OpenNetwork]:
    """Opens either of the two, as `open_network` opens one that is real."""
    encoder, network = {"fake": (FakeEncoder(), FAKE_NETWORK), "other": (OtherEncoder(), OTHER_NETWORK)}[
        Path(checkpoint).stem
    ]
    yield OpenNetwork(network, encoder, InProcess(encoder.size, encoder.prepare, limits_of(settings)))
