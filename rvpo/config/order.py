"""The orders in which prompts can be visited."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rvpo.fields import Float, Section


class PlainOrder(Section):
    """Each epoch visits every prompt once, in a seeded order of its own."""

    name: Literal["plain"] = "plain"


class DifficultyOrder(Section):
    """Prompts whose samples differed in few rewards, as easy and hopeless ones do, come seldom.

    A prompt is kept in an epoch with the chance of its telling anything, as far as its own groups
    have shown; one that no group has shown is always kept. So the first epoch is the plain one but
    for prompts that `rollout.resample` has sampled in the place of others. What was found out is
    kept in checkpoints.
    """

    name: Literal["difficulty"] = "difficulty"
    least: Annotated[Float, Field(gt=0, le=1)] = 0.2
    """Chance with which any prompt is kept, whatever its groups have shown."""


AnyOrder = PlainOrder | DifficultyOrder
