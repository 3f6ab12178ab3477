"""Schemathesis hooks: skip requests that form encoding would change."""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_body(_context: schemathesis.HookContext, body: Any) -> bool:
    """Skip empty lists, which a form encodes as an absent field."""
    return not (isinstance(body, dict) and [] in body.values())
