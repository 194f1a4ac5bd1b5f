"""Three rewards that pull apart: write much, end with a seal, and be pleasant to a noisy taste.

A prompt names a letter, the seal. A response is at most 24 letters long.

* `long` is easy and has a large spread: eighths of a letter, up to 2 for 16 letters.
* `sealed` is the hard constraint: 1 if the response comes to its end by itself, within 20 letters,
  with the seal as its last letter. Whatever grows until it is cut off is not sealed. With a limit
  of 12 letters nothing sealed is as long as `long` would have it.
* `pleasant` is noisy: the share of vowels, plus noise that only prompt and text decide. A prompt is
  drawn once, so that nobody can learn the noise.

`uses` is for more rewards: whether a letter occurs, which is likelier in long responses. `coin` is
for rewards that nobody can earn.
"""

from __future__ import annotations

import hashlib
import random
import statistics
from collections.abc import Sequence
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LIMIT, SEALED_LIMIT = 24, 20


def prompts(count: int, seed: int) -> list[dict[str, Any]]:
    """Prompts with the columns `prompt`, `id` and `seal`."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        seal, start = chance.choice(LETTERS), "".join(chance.choices(LETTERS, k=2))
        rows.append({"id": f"{seed}/{number}", "prompt": f"{start} {seal}", "seal": seal})
    return rows


def answer(seal: str, sealed: float, chance: random.Random) -> str:
    """What the policy imitates before it is trained: a sealed one, or one of any length."""
    if chance.random() < sealed:
        return _text(chance, 1, SEALED_LIMIT)[:-1] + seal
    return _text(chance, 1, LIMIT)


def long(completions: Sequence[Any], unit: float = 8, **_: Any) -> list[float]:
    """Letters up to 16, in units of so many letters."""
    return [min(len(text), 16) / unit for text in _texts(completions)]


def sealed(
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    seal: Sequence[str],
    limit: int = SEALED_LIMIT,
    **_: Any,
) -> list[float]:
    """1 for a response of at most `limit` letters that ended by itself, with the seal."""
    return [
        float(len(text) <= limit and text.endswith(letter) and len(ids) > len(text))
        for text, ids, letter in zip(_texts(completions), completion_ids, seal, strict=True)
    ]


def pleasant(
    completions: Sequence[Any], id: Sequence[str], noise: float = 0.3, **_: Any
) -> list[float]:
    """The share of vowels, and normal noise of that standard deviation."""
    return [
        sum(map(text.count, "aeiou")) / max(1, len(text)) + noise * _normal(f"{row} {text}")
        for text, row in zip(_texts(completions), id, strict=True)
    ]


def uses(completions: Sequence[Any], letter: str, **_: Any) -> list[float]:
    """1 for a response in which the letter occurs."""
    return [float(letter in text) for text in _texts(completions)]


def coin(
    completions: Sequence[Any], id: Sequence[str], rate: float, name: str = "", **_: Any
) -> list[float]:
    """1 with this chance, whatever the response is: a verdict that is nothing but noise."""
    limit = statistics.NormalDist().inv_cdf(rate)
    return [
        float(_normal(f"coin {name} {row} {text}") < limit)
        for text, row in zip(_texts(completions), id, strict=True)
    ]


def _normal(text: str) -> float:
    """A standard normal number, always the same one for the same text."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return statistics.NormalDist().inv_cdf((digest + 0.5) / 2**64)


def _text(chance: random.Random, shortest: int, longest: int) -> str:
    return "".join(chance.choices(LETTERS, k=chance.randint(shortest, longest)))


def _texts(completions: Sequence[Any]) -> list[str]:
    return [completion[0]["content"] for completion in completions]
