"""Rewards of a completion's length, of its thoughts' or of its answer's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from rvpo.rewards.completion import bounded

LengthOf = Literal["completion", "thought", "answer"]
"""Tokens of the policy that count: all, those of the thoughts with their markers, or those behind
them; of an episode those of all its turns."""


@bounded(-1.0, 0.0)
def soft_overlong(
    completion_ids: Sequence[Sequence[int]],
    longest: int,
    margin: int,
    of: LengthOf = "completion",
    thought_tokens: Sequence[int] = (),
    answer_tokens: Sequence[int] = (),
    policy_tokens: Sequence[int] = (),
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
        policy_tokens: number of all that are the policy's; left out, those of the completion.

    Raises:
        ValueError: the margin is not between 1 and `longest`, or there is no such part.

    Source: DAPO, arXiv:2503.14476, eq. 13.
    """
    if not 1 <= margin <= longest:
        raise ValueError(f"margin must be from 1 to longest={longest}, got {margin}")
    lengths = _lengths(of, completion_ids, thought_tokens, answer_tokens, policy_tokens)
    return [min(0.0, max(-1.0, (longest - margin - length) / margin)) for length in lengths]


@bounded("start", "end")
def linear(
    completion_ids: Sequence[Sequence[int]],
    longest: int,
    shortest: int = 0,
    start: float = 1.0,
    end: float = 0.0,
    of: LengthOf = "completion",
    thought_tokens: Sequence[int] = (),
    answer_tokens: Sequence[int] = (),
    policy_tokens: Sequence[int] = (),
    **columns: Any,
) -> list[float]:
    """`start` up to `shortest` tokens, then in a line to `end` at `longest`, and `end` beyond.

    `only_if: {reward: correct, at_least: 1}` keeps it to right answers.

    Args:
        completion_ids: tokens of each completion.
        longest: tokens at which it is `end`.
        shortest: tokens at which it is `start`.
        start: score of a short text.
        end: score of a long one; above `start`, length is wanted.
        of: part whose tokens count.
        thought_tokens: number of those of each completion's thoughts.
        answer_tokens: number of those of its answer.
        policy_tokens: number of all that are the policy's; left out, those of the completion.

    Raises:
        ValueError: the lengths are not in order, or there is no such part.

    Source: the length reward of Kimi k1.5 (arXiv:2501.12599), with fixed ends in place of the
    group's shortest and longest.
    """
    shares = _shares(
        shortest,
        longest,
        _lengths(of, completion_ids, thought_tokens, answer_tokens, policy_tokens),
    )
    return [start + (end - start) * share for share in shares]


@bounded("start", "end")
def cosine(
    completion_ids: Sequence[Sequence[int]],
    longest: int,
    shortest: int = 0,
    start: float = 1.0,
    end: float = 0.0,
    of: LengthOf = "completion",
    thought_tokens: Sequence[int] = (),
    answer_tokens: Sequence[int] = (),
    policy_tokens: Sequence[int] = (),
    **columns: Any,
) -> list[float]:
    """`linear`, but along half a wave: flat at both ends and steep in the middle.

    The published reward is two of these: one of right answers (`only_if`) that falls, such as from
    1 to 0.5, and one of all answers that rises, such as from -1 to -0.5, both over
    `rollout.max_completion_tokens`.

    Args:
        completion_ids: tokens of each completion.
        longest: tokens at which it is `end`.
        shortest: tokens at which it is `start`.
        start: score of a short text.
        end: score of a long one; above `start`, length is wanted.
        of: part whose tokens count.
        thought_tokens: number of those of each completion's thoughts.
        answer_tokens: number of those of its answer.
        policy_tokens: number of all that are the policy's; left out, those of the completion.

    Raises:
        ValueError: the lengths are not in order, or there is no such part.

    Source: Yeo et al., Demystifying Long Chain-of-Thought Reasoning in LLMs, arXiv:2502.03373.
    """
    shares = _shares(
        shortest,
        longest,
        _lengths(of, completion_ids, thought_tokens, answer_tokens, policy_tokens),
    )
    return [end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0 for share in shares]


def _lengths(
    of: LengthOf,
    completion_ids: Sequence[Sequence[int]],
    thought_tokens: Sequence[int],
    answer_tokens: Sequence[int],
    policy_tokens: Sequence[int],
) -> Sequence[int]:
    if of not in get_args(LengthOf):
        raise ValueError(f"of must be one of {', '.join(get_args(LengthOf))}, got {of!r}")
    whole = policy_tokens or [len(ids) for ids in completion_ids]
    return {"completion": whole, "thought": thought_tokens, "answer": answer_tokens}[of]


def _shares(shortest: int, longest: int, lengths: Sequence[int]) -> list[float]:
    """Place of each length between the shortest and the longest, from 0 to 1."""
    if not 0 <= shortest < longest:
        raise ValueError(f"shortest must be from 0 to below longest={longest}, got {shortest}")
    width = longest - shortest
    return [min(1.0, max(0.0, (length - shortest) / width)) for length in lengths]
