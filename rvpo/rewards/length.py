"""Rewards of a completion's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def soft_overlong(
    completion_ids: Sequence[Sequence[int]], longest: int, margin: int, **columns: Any
) -> list[float]:
    """0 up to `longest - margin` tokens, from there falling to −1 at `longest`, and −1 beyond.

    Args:
        completion_ids: tokens of each completion.
        longest: usually `rollout.max_completion_tokens`.
        margin: tokens over which the score falls.

    Raises:
        ValueError: the margin is not between 1 and `longest`.

    Source: DAPO, arXiv:2503.14476, eq. 13.
    """
    if not 1 <= margin <= longest:
        raise ValueError(f"margin must be from 1 to longest={longest}, got {margin}")
    return [min(0.0, max(-1.0, (longest - margin - len(ids)) / margin)) for ids in completion_ids]
