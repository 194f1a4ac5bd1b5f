"""A task for the tiny model: write vowels, and letters late in the alphabet."""

from __future__ import annotations

import time
from typing import Any


def letters(count: int) -> list[dict[str, Any]]:
    return [{"id": f"letters/{i}", "prompt": "abc"[: i % 3 + 1], "number": i} for i in range(count)]


def words(count: int) -> list[dict[str, Any]]:
    return [{"id": f"words/{i}", "prompt": "cba"[i % 3 :] * 2, "number": -i} for i in range(count)]


def slow_letters(count: int, seconds: float) -> list[dict[str, Any]]:
    """Prompts that take their time, as a download does."""
    time.sleep(seconds)
    return letters(count)


def vowels(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
) -> list[float | None]:
    texts = [completion[0]["content"] for completion in completions]
    return [sum(char in "aeiou" for char in text) / max(1, len(text)) for text in texts]


def begins_with_vowel(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
) -> list[float | None]:
    """All or nothing, so that whole groups often agree."""
    return [float(completion[0]["content"][:1] in tuple("aeiou")) for completion in completions]


def late(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
) -> list[float | None]:
    texts = [completion[0]["content"] for completion in completions]
    return [sum("n" <= char <= "z" for char in text) / max(1, len(text)) for text in texts]


def flat(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
) -> list[float | None]:
    """As of a reward that never finds what it looks for."""
    return [0.0] * len(completions)
