"""Rewards for `rvpo.data.arithmetic`: the right answer, in the required format, in few words.

They pull against each other: a longer calculation is more often right and less often brief.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rvpo.rewards.completion import Completion, text_of

_NUMBER = re.compile(r"(?:(?<!\d)-)?\d+(?:[.,]\d+)*")
_ANSWER_LINE = re.compile(r"Answer: -?\d+")


def correct(
    completions: Sequence[Completion], answer: Sequence[int], **columns: Any
) -> list[float]:
    """1 where the last number of a completion is the answer, else 0."""
    return [
        float(_last_number(text_of(completion)) == str(right))
        for completion, right in zip(completions, answer, strict=True)
    ]


def formatted(completions: Sequence[Completion], **columns: Any) -> list[float]:
    """1 where the last line of a completion is exactly `Answer: <n>`, else 0."""
    return [float(_ends_in_answer(text_of(completion))) for completion in completions]


def brief(completions: Sequence[Completion], max_words: int = 14, **columns: Any) -> list[float]:
    """1 where a completion has at least one word and at most `max_words`, else 0."""
    return [float(1 <= len(text_of(completion).split()) <= max_words) for completion in completions]


def _last_number(text: str) -> str | None:
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def _ends_in_answer(text: str) -> bool:
    lines = text.splitlines()
    return bool(lines) and _ANSWER_LINE.fullmatch(lines[-1]) is not None
