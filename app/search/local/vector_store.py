"""What a local index needs of the file that its vectors are in; `app/catalogue/vectors/file.py` has it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]
Checksums = NDArray[np.uint32]


class Vectors(Protocol):
    """Where F7 lies."""

    def write(self, slots: Slots, features: NDArray[np.float32]) -> Checksums:
        """Writes F7 `(n, d)` for good; returns checksums `(n,)`."""
        ...

    def rows(self, slots: Slots) -> NDArray[np.float32] | NDArray[np.float16]:
        """Returns a matrix `(rows, d)` that holds all of these slots."""
        ...

    def intact(self, slots: Slots, expected: Checksums) -> NDArray[np.bool_]:
        """Tells for each slot whether its vector is what was written."""
        ...

    def free(self, slots: Slots) -> bool:
        """Gives back the disk that these take, which nobody reads any more; False if that has to wait."""
        ...

    @property
    def bytes_on_disk(self) -> int:
        """Bytes that they take."""
        ...

    def close(self) -> None:
        """Lets them go."""
        ...
