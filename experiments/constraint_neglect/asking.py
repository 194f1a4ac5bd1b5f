"""Three rewards that pull apart for a chat model: say much, end with a question, and use no comma.

* `long` is easy and has a large spread: quarters of a word, up to 6 for 24 words.
* `asks` is the hard constraint: 1 for a response that comes to its end by itself, with a question.
  SmolLM2-135M meets it with one response in twenty.
* `plain` is met by a quarter: 1 for a response without a comma.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LIMIT = 28
"""Tokens of a response, at most: about 22 words."""


def long(completions: Sequence[Any], **_: Any) -> list[float]:
    """Words up to 24, in units of four."""
    return [min(len(text.split()), 24) / 4 for text in _texts(completions)]


def asks(
    completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], **_: Any
) -> list[float]:
    """1 for a response that ended by itself, with a question mark."""
    return [
        float(text.rstrip().endswith("?") and len(ids) < LIMIT)
        for text, ids in zip(_texts(completions), completion_ids, strict=True)
    ]


def plain(completions: Sequence[Any], **_: Any) -> list[float]:
    """1 for a response without a comma."""
    return [float("," not in text) for text in _texts(completions)]


def _texts(completions: Sequence[Any]) -> list[str]:
    return [completion[0]["content"] for completion in completions]
