"""Rewards of a completion's length, of its thoughts' or of its answer's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

LengthOf = Literal["completion", "thought", "answer"]
"""Tokens that count: all, those of the thoughts with their markers, or those behind them."""


def soft_overlong(
    completion_ids: Sequence[Sequence[int]],
    longest: int,
    margin: int,
    of: LengthOf = "completion",
    thought_tokens: Sequence[int] = (),
    answer_tokens: Sequence[int] = (),
    **columns: Any,
) -> list[float]:
    """0 up to `longest - margin` tokens, from there falling to −1 at `longest`, and −1 beyond.

    Args:
        completion_ids: tokens of each completion.
        longest: usually `rollout.max_completion_tokens`, or `rollout.max_thought_tokens`.
        margin: tokens over which the score falls.
        of: part whose tokens count.
        thought_tokens: number of those of each completion's thoughts.
        answer_tokens: number of those of its answer.

    Raises:
        ValueError: the margin is not between 1 and `longest`, or there is no such part.

    Source: DAPO, arXiv:2503.14476, eq. 13.
    """
    if not 1 <= margin <= longest:
        raise ValueError(f"margin must be from 1 to longest={longest}, got {margin}")
    if of not in get_args(LengthOf):
        raise ValueError(f"of must be one of {', '.join(get_args(LengthOf))}, got {of!r}")
    whole = [len(ids) for ids in completion_ids]
    lengths = {"completion": whole, "thought": thought_tokens, "answer": answer_tokens}[of]
    return [min(0.0, max(-1.0, (longest - margin - length) / margin)) for length in lengths]
