"""Lines between which a text stands that cannot end them."""

from __future__ import annotations

import re


def fenced(text: str) -> str:
    """A text between two equal lines of `=`, longer than any run of `=` inside it."""
    longest = max(map(len, re.findall("=+", text)), default=0)
    fence = "=" * max(5, longest + 1)
    return "".join((fence, "\n", text, "\n", fence))
