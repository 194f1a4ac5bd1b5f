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
