"""The reward that a world of an episode has of its own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any


async def get_reward(environments: Sequence[Any], **columns: Any) -> list[float | None]:
    """The score by each world's method `get_reward`, sync or async, as TRL asks it; None where it
    has none.

    Args:
        environments: the objects of `environment: {name: python}`, one for each episode.
    """
    return [await _score(world) for world in environments]


async def _score(world: Any) -> float | None:
    method = getattr(world, "get_reward", None)
    if method is None:
        return None
    score = method()
    found: float | None = await score if inspect.isawaitable(score) else score
    return found
