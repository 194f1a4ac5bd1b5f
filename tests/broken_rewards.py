"""Rewards and rows with the mistakes that users make."""

from __future__ import annotations

from typing import Any


def too_few(completions: list[Any], **columns: Any) -> list[float]:
    return [1.0] * (len(completions) - 1)


def endless(completions: list[Any], **columns: Any) -> list[float]:
    return [float("inf")] * len(completions)


def raises(completions: list[Any], **columns: Any) -> list[float]:
    return [1 / 0 for _ in completions]


def no_rows() -> list[Any]:
    return []


def leaves_its_range(completions: list[Any], trainer_state: Any, **columns: Any) -> list[float]:
    """In [0, 1] in two steps, and below in the third."""
    score = 0.5 if trainer_state.global_step < 2 else -3.0
    return [score] * (len(completions) - 1) + [1.0]
