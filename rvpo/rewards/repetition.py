"""Repetition in an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from rvpo.rewards.completion import Completion, bounded, text_of

# Words, and each sign of scripts that put no space between words.
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]|[^\W_]+(?:['\u2019][^\W_]+)*")


@bounded(0.0, "penalty")
def repeated(
    completions: Sequence[Completion], n: int = 3, penalty: float = -1.0, **columns: Any
) -> list[float]:
    """Share of a completion's n-grams that stood before in it, times `penalty`: 0 where none did.

    Args:
        completions: the answers.
        n: words that count as one thing; case does not matter.
        penalty: score of a text that is all repetition, usually below 0.

    Raises:
        ValueError: n is below 1.

    Source: Yeo et al., arXiv:2502.03373 (n-gram repetition penalty); the share is that of
    Open R1 and TRL: 1 - distinct / all.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return [penalty * _share(_WORD.findall(text_of(each).lower()), n) for each in completions]


def _share(words: Sequence[str], n: int) -> float:
    grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0
