"""How much of many pictures goes into one request: less, once that much was refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# A service waits a minute for a request to arrive: two of these at once do on an uplink of 2 Mbit/s.
PICTURES, BYTES = 50, 6_000_000
# It did not arrive in time, or is too large.
TOO_MUCH = (408, 413)


@dataclass(frozen=True)
class Parcel:
    """A picture as it is sent; `about` is what is said of it, as JSON."""

    data: bytes
    key: str | None
    about: str

    @property
    def size(self) -> int:
        """Returns its bytes in a request, of which there are always some."""
        return len(self.data) + len(self.about)


class Portion:
    """How many bytes a request carries, for all calls of a client; safe for many threads.

    What was too much for the service, or for what stands in front of it, is too much the next time too, and finding
    that out anew costs as much as sending it.
    """

    def __init__(self) -> None:
        self.bytes = BYTES

    def refused(self, size: int) -> None:
        """Hears that a request with so many bytes was too much; half of it may do."""
        self.bytes = min(self.bytes, size // 2)

    def gather(self, parcels: Iterable[Parcel]) -> Iterator[list[Parcel]]:
        """Yields as many at a time as one request should carry; what is larger goes alone."""
        some, size = list[Parcel](), 0
        for parcel in parcels:
            if some and (len(some) == PICTURES or size + parcel.size > self.bytes):
                yield some
                some, size = [], 0
            some.append(parcel)
            size += parcel.size
        if some:
            yield some
