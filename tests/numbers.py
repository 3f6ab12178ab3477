"""Numbers for property tests, and JSON with them."""

import json
from typing import Any

from hypothesis import strategies as st

_NOTABLE = [2020, 2020.0, 2**53 + 1, -(2**53) - 1, 2.0**53, 1e16, 1e22, 1e23, 1e300, 10**300, -0.0, 5e-324, 0.1, 1e-7]
# Whole numbers in both forms, beyond what a double can represent, and any other finite numbers.
NUMBERS = (
    st.sampled_from(_NOTABLE)
    | st.integers(-(10**30), 10**30)
    | st.integers(-(2**60), 2**60).map(float)
    | st.floats(allow_nan=False, allow_infinity=False)
)


def dumps(value: Any) -> str:
    """Serialise as JSON; not finite numbers are refused."""
    return json.dumps(value, allow_nan=False)
