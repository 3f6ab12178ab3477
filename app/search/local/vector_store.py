"""Protocol of the local index's vector storage, implemented by `app/catalogue/vectors/file.py`."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]
Checksums = NDArray[np.uint32]


class VectorStore(Protocol):
    """Storage of F7 by slot."""

    def as_stored(self, features: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.float16]:
        """Convert F7 `(n, d)` to the stored type."""
        ...

    def write(self, slots: Slots, features: NDArray[np.float32]) -> Checksums:
        """Write F7 `(n, d)` durably; return checksums `(n,)`."""
        ...

    def mapped_rows(self, slots: Slots) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return a matrix `(rows, d)` that includes these slots, as far as they exist."""
        ...

    def verify(self, slots: Slots, expected: Checksums) -> NDArray[np.bool_]:
        """Verify the vector of each slot against its checksum; `(n,)` bool."""
        ...

    def free(self, slots: Slots) -> bool:
        """Free the disk space of slots that are no longer read; return False if it must be retried later."""
        ...

    @property
    def bytes_on_disk(self) -> int:
        """Disk space used in bytes."""
        ...

    def close(self) -> None:
        """Release the storage."""
        ...
