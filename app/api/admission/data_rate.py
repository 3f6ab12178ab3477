"""The least rate at which a client has to send or read."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataRate:
    """A least rate, and the longest pause.

    Attributes:
        least: bytes a second.
        grace_s: seconds that a client may pause, and that it may fall behind the rate.
    """

    least: int
    grace_s: float


@dataclass
class Pace:
    """How much longer one client may be waited for.

    Waiting uses up the grace period, and bytes give it back. It never grows beyond the grace period, so bytes sent
    quickly are no credit for a long pause.
    """

    rate: DataRate
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left_s = self.rate.grace_s

    def waited(self, seconds: float, transferred: int) -> None:
        """Counts seconds of waiting, and the bytes that arrived or were read meanwhile."""
        self.left_s = min(self.rate.grace_s, self.left_s - seconds + transferred / self.rate.least)
