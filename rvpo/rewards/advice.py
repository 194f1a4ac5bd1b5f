"""Advice about verdicts that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from rvpo.judge.hint import hint

_REASONS: Final = 5
"""Number of reasons that are explained: the most frequent ones."""


def advice(failures: Mapping[str, int], details: Mapping[str, str]) -> list[str]:
    """A line for each reason of which more is known: what the server said, and what may help.

    Args:
        failures: verdicts lost, by reason.
        details: the server's words to one of them, by reason.
    """
    lines = []
    for reason, _ in Counter(failures).most_common(_REASONS):
        detail = details.get(reason, "")
        said = [f"the server said {detail!r}"] if detail else []
        remedy = cache_remedy(reason) or hint(reason, detail)
        if said or remedy:
            lines.append(f"{reason}: {'; '.join([*said, *([remedy] if remedy else [])])}")
    return lines


def cache_remedy(reason: str) -> str:
    """Advice where it was not the judge that failed but the file of known verdicts."""
    if not reason.startswith("cache: "):
        return ""
    if "full" in reason:
        return "free space on the disk of judge.cache, or set judge.cache=FILE on another disk"
    if "locked" in reason or "busy" in reason:
        return "end the other process that keeps judge.cache locked, or set judge.cache=FILE"
    return "see that judge.cache can be read and written, or set judge.cache=FILE elsewhere"
