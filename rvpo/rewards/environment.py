"""The reward that a world of an episode has of its own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from rvpo.errors import RewardError
from rvpo.types import Failed, RewardScore


async def get_reward(environments: Sequence[Any], **columns: Any) -> list[RewardScore]:
    """The score by each world's method `get_reward`, sync or async, as TRL asks it; failed where it
    has none.

    Args:
        environments: the worlds' own objects, such as those of `environment: {name: python}`, one
            for each episode.

    Raises:
        RewardError: there are no such objects.
    """
    if all(world is None for world in environments):
        raise RewardError(
            "get_reward asks the objects of environment.name=python, and this environment has none"
        )
    return [await _score(world) for world in environments]


async def _score(world: Any) -> RewardScore:
    method = getattr(world, "get_reward", None)
    if method is None:
        return Failed(f"the world's object, of type {type(world).__name__}, has no get_reward")
    score = method()
    found: RewardScore = await score if inspect.isawaitable(score) else score
    return found
