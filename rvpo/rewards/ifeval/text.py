"""The parts of a text that instructions count."""

from __future__ import annotations

import re
from typing import Final

_ABBREVIATED: Final = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|e\.g|i\.e|cf|approx|No|Inc|Ltd|Co|[A-Z])\.$"
)
_LONGEST: Final = 8
"""Letters in which the longest abbreviation has its place, with its full stop."""
_END: Final = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|\Z)|[\u3002\uff01\uff1f]+[\u201d\u300f\u300d]*"
)


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, as IFEval counts them."""
    return re.findall(r"\w+", text)


def tokens(text: str) -> list[str]:
    """Words with what is inside them, such as `isn't` and `U.S.`."""
    return re.findall(r"\w+(?:[-'\u2019.]\w+)*", text)


def sentences(text: str) -> list[str]:
    """Pieces that end in a mark and space, but not behind an abbreviation; a line that ends
    without a mark belongs to the next."""
    found, start = [], 0
    for end in _END.finditer(text):
        last = max(start, end.end() - _LONGEST)
        if end[0] == "." and _ABBREVIATED.search(text, last, end.end()):
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    rest = text[start:].strip()
    return [each for each in [*found, rest] if re.search(r"\w", each)]


def divided(text: str, mark: str) -> list[str] | None:
    """The parts between dividers; None where one is empty that is not the first or the last.

    Args:
        mark: pattern of a divider.
    """
    parts = [part.strip() for part in re.split(rf"\s?{mark}\s?", text)]
    if any(not part for part in parts[1:-1]):
        return None
    return [part for part in parts if part]


def paragraphs(text: str) -> list[str]:
    """Parts between empty lines."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
