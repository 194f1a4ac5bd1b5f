"""Everyday requests, made on the spot: prompts for rewards that a judge gives."""

from __future__ import annotations

import random
from itertools import product
from typing import Any, Literal, get_args

Split = Literal["train", "held_out"]

_PEOPLE = ("friend", "sister", "brother", "neighbour", "teacher", "colleague", "cousin", "uncle")
_MOODS = ("sad", "tired", "worried", "angry", "nervous", "lonely", "bored", "ill")
_TASKS = ("boil an egg", "clean a window", "plant a tree", "fold a shirt", "make tea", "wash a car")
_TOPICS = ("the moon", "rain", "bread", "a river", "winter", "a bicycle", "honey", "a library")
_REQUESTS = (
    *(f"My {who} is {mood}. What can I say?" for who, mood in product(_PEOPLE, _MOODS)),
    *(f"How can my {who} and I {task}?" for who, task in product(_PEOPLE, _TASKS)),
    *(f"Tell my {who} something about {topic}." for who, topic in product(_PEOPLE, _TOPICS)),
)
_SYSTEM = {"role": "system", "content": "Answer in one short sentence."}


def requests(count: int, seed: int, part: Split = "train") -> list[dict[str, Any]]:
    """Requests that any chat model has something to say to, with nothing to check it by.

    Args:
        count: number of requests, from 1 to all of the part.
        seed: decides the choice and the order.
        part: a fifth of all requests is `held_out`, the others are `train`.

    Returns:
        Rows `{"id": str, "prompt": [chat messages]}`.

    Raises:
        ValueError: `count` or `part` is not one of these.
    """
    if part not in get_args(Split):
        raise ValueError(f"part must be one of {', '.join(get_args(Split))}, got {part!r}")
    mine = [r for i, r in enumerate(_REQUESTS) if (i % 5 == 0) == (part == "held_out")]
    if not 1 <= count <= len(mine):
        raise ValueError(f"count must be from 1 to {len(mine)}, got {count}")
    chosen = random.Random(seed).sample(mine, count)
    return [
        {"id": f"{part}/{index}", "prompt": [_SYSTEM, {"role": "user", "content": request}]}
        for index, request in enumerate(chosen)
    ]
