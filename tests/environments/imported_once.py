"""A module that only the process of a test can import."""

from __future__ import annotations

import sys

if "pytest" not in sys.modules:
    raise RuntimeError("not here")


def anything() -> str:
    """Anything."""
    return "here"
