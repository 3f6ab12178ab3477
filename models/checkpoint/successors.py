"""Shipped networks that newer ones replace, and what a catalogue gains by moving to them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Successor:
    """A shipped network that ranks better than an older one.

    Attributes:
        name: name of the newer checkpoint.
        gain: what it gains, as a sentence with the measured figures (`docs/results.md`).
        milliseconds: time of one core to decode and encode one photograph of 640 × 480 pixels.
    """

    name: str
    gain: str
    milliseconds: float

    def seconds(self, images: int, cores: int) -> float:
        """Estimate the seconds of reindexing a catalogue."""
        return images * self.milliseconds / 1000 / cores


# By the fingerprint of the older network.
SUCCESSORS = {
    # general
    "ea9196f3506def84": Successor(
        "general-small",
        "Precision@10 of F7 rises from 0.70 to 0.75 on photographs of clothes, and from 0.50 to 0.55 on pictures whose "
        "objects are off the centre; colours of wide-gamut photographs are right.",
        milliseconds=25.0,
    ),
}
