"""Minimum transfer rate of clients, with a grace period."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataRate:
    """Minimum transfer rate.

    Attributes:
        bytes_per_s: the rate.
        grace_s: seconds that a client may pause or fall behind the rate.
    """

    bytes_per_s: int
    grace_s: float


@dataclass
class GracePeriod:
    """Remaining grace period of one client.

    Waiting uses it up, and transferred bytes restore it. It never exceeds `rate.grace_s`, so a fast transfer earns no
    credit for a long pause.
    """

    rate: DataRate
    remaining_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.remaining_s = self.rate.grace_s

    def record(self, seconds: float, transferred: int) -> None:
        """Subtract seconds of waiting, and add the time that the transferred bytes are worth."""
        self.remaining_s = min(self.rate.grace_s, self.remaining_s - seconds + transferred / self.rate.bytes_per_s)
