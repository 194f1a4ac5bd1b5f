"""Three rewards that pull apart: write much, end with a seal, and be pleasant to a noisy taste.

A prompt names a letter, the seal. A response is at most 24 letters long.

* `long` is easy and has a large spread: the share of the 24 letters that were written.
* `sealed` is rare and hard: whether the response came to its end by itself, with the seal as its
  last letter. A response that grows until it is cut off has no end, so length endangers the seal.
* `pleasant` is noisy: the share of vowels, plus noise of a standard deviation of 0.5 that depends
  on nothing but the text.
"""

from __future__ import annotations

import hashlib
import random
import statistics
from collections.abc import Sequence
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LIMIT = 24
NOISE = 0.5


def prompts(count: int, seed: int) -> list[dict[str, Any]]:
    """Prompts with the columns `prompt`, `id` and `seal`."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        seal, start = chance.choice(LETTERS), "".join(chance.choices(LETTERS, k=2))
        rows.append({"id": f"{seed}/{number}", "prompt": f"{start} {seal}", "seal": seal})
    return rows


def answer(seal: str, chance: random.Random) -> str:
    """What the policy imitates before it is trained: of any length, sealed one time in ten."""
    text = "".join(chance.choices(LETTERS, k=chance.randint(3, LIMIT - 2)))
    return text[:-1] + seal if chance.random() < 0.1 else text


def long(completions: Sequence[Any], **_: Any) -> list[float]:
    """The share of the room that was written on."""
    return [min(len(text), LIMIT) / LIMIT for text in _texts(completions)]


def sealed(
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    seal: Sequence[str],
    **_: Any,
) -> list[float]:
    """1 for a response that ended by itself, with the seal."""
    return [
        float(text.endswith(letter) and len(ids) > len(text))  # one token more, the end
        for text, ids, letter in zip(_texts(completions), completion_ids, seal, strict=True)
    ]


def pleasant(completions: Sequence[Any], noise: float = NOISE, **_: Any) -> list[float]:
    """The share of vowels, and noise that the text decides."""
    return [
        sum(map(text.count, "aeiou")) / max(1, len(text)) + noise * _normal(text)
        for text in _texts(completions)
    ]


def _normal(text: str) -> float:
    """A standard normal number, always the same one for the same text."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return statistics.NormalDist().inv_cdf((digest + 0.5) / 2**64)


def _texts(completions: Sequence[Any]) -> list[str]:
    return [completion[0]["content"] for completion in completions]
