"""Advice about verdicts that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rvpo.config.judges import OWN
from rvpo.judge.hint import hint

_REASONS: Final = 5
"""Number of reasons that are explained: the most frequent ones."""


def advice(failures: Mapping[str, int], details: Mapping[str, str], where: str = OWN) -> list[str]:
    """A line for each reason of which more is known: what the server said, and what may help.

    Args:
        failures: verdicts lost, by reason.
        details: the server's words to one of them, by reason.
        where: the section of the judge.
    """
    lines = []
    for reason, _ in Counter(failures).most_common(_REASONS):
        detail = details.get(reason, "")
        said = [f"the server said {detail!r}"] if detail else []
        remedy = cache_remedy(reason, where) or hint(reason, detail, where)
        if said or remedy:
            lines.append(f"{reason}: {'; '.join([*said, *([remedy] if remedy else [])])}")
    return lines


def cache_remedy(reason: str, where: str = OWN) -> str:
    """Advice where it was not the judge that failed but the file of known verdicts."""
    if not reason.startswith("cache: "):
        return ""
    if "full" in reason:
        return f"free space on the disk of {where}.cache, or set {where}.cache=FILE on another disk"
    if "locked" in reason or "busy" in reason:
        return f"end the other process that keeps {where}.cache locked, or set {where}.cache=FILE"
    return f"see that {where}.cache can be read and written, or set {where}.cache=FILE elsewhere"
