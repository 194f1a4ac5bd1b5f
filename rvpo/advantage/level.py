"""Levels of satisfaction: scores on a scale that says what is good enough.

    u_j = clip((r_j - bad_j) / (good_j - bad_j), 0, 1) / 2 + [r_j >= good_j] / 2

A level is 0 at `bad` and below, 1 at `good` and above. The second half is won at `good` alone, so
that nearly is not enough. A verdict of 0 or 1 is its own level. Unlike a z-score, a level says
whether a sample is good, and not only whether it is better than its siblings; unlike a raw score
it has a limit, so that more of what is satisfied moves nothing.

Ours; MaxRL (arXiv:2602.02710) and DARA read the level of a reward as its rate of success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rvpo.errors import RewardError
from rvpo.lazy import torch
from rvpo.satisfied import MET_OR_NOT, Satisfied
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor


def levels(rewards: Rewards) -> Tensor:
    """[N, M] float64 in [0, 1], 0 where there is no score.

    Raises:
        RewardError: a reward without a declaration has a score outside [0, 1].
    """
    _check_declared(rewards)
    return _level(rewards.values.double(), *bounds(rewards)).where(rewards.valid, 0.0)


def reached(rewards: Rewards) -> Tensor:
    """[N, M] float64, how far each score is from bad, 0, to good enough, 1; scores outside count as
    the bound.

    Raises:
        RewardError: a reward without a declaration has a score outside [0, 1].
    """
    _check_declared(rewards)
    return _reached(rewards.values.double(), *bounds(rewards))


def above_bad(rewards: Rewards) -> Tensor:
    """[N, M] float64 of at least 0: each score, measured from what is bad.

    Raises:
        RewardError: a reward without a declaration has a score below 0.
    """
    declared = torch.tensor([each is not None for each in rewards.satisfied])
    outside = _first(rewards.valid & (rewards.values < 0) & ~declared, rewards)
    if outside is not None:
        name, score = outside
        raise RewardError(
            f"reward '{name}' has a score of {score:g}, and is measured from what is bad; without "
            f"a declaration that is 0: say what is bad, as in "
            f"rewards.{name}.satisfied: {{bad: -3, good: 3}}"
        )
    return (rewards.values.double() - bounds(rewards)[0]).clamp(min=0)


def met(rewards: Rewards) -> Tensor:
    """[N, M] bool: the score is there, and good enough."""
    return rewards.valid & (rewards.values.double() >= bounds(rewards)[1])


def at_levels(rewards: Rewards) -> Rewards:
    """The rewards with levels in place of scores, each of which is then a verdict of its own kind.

    Raises:
        RewardError: a reward without a declaration has a score outside [0, 1].
    """
    return replace_values(rewards, levels(rewards))


def replace_values(rewards: Rewards, values: Tensor) -> Rewards:
    """The rewards with other scores, which lie between 0 and 1 and need no declaration."""
    return replace(rewards, values=values, satisfied=(None,) * len(rewards.names))


def bounds(rewards: Rewards) -> tuple[Tensor, Tensor]:
    """`bad` and `good` of each column, [M] float64 each; 0 and 1 where nothing is declared."""
    each: Sequence[Satisfied] = [s or MET_OR_NOT for s in rewards.satisfied]
    bad, good = ([s.bad for s in each], [s.good for s in each])
    return torch.tensor(bad, dtype=torch.float64), torch.tensor(good, dtype=torch.float64)


def _level(values: Tensor, bad: Tensor, good: Tensor) -> Tensor:
    return (_reached(values, bad, good) + (values >= good)) / 2


def _reached(values: Tensor, bad: Tensor, good: Tensor) -> Tensor:
    return ((values - bad) / (good - bad)).clamp(0, 1)


def _first(where: Tensor, rewards: Rewards) -> tuple[str, float] | None:
    """Name of the reward and score of the first entry of a mask; None where it has none."""
    if not bool(where.any()):
        return None
    row, column = (int(place) for place in where.nonzero()[0])
    return rewards.names[column], float(rewards.values[row, column])


def _check_declared(rewards: Rewards) -> None:
    declared = torch.tensor([each is not None for each in rewards.satisfied])
    is_outside = rewards.valid & ((rewards.values < 0) | (rewards.values > 1)) & ~declared
    outside = _first(is_outside, rewards)
    if outside is None:
        return
    name, score = outside
    raise RewardError(
        f"reward '{name}' has a score of {score:g}, and levels of satisfaction are asked for; "
        f"without a declaration they lie between 0 and 1: say what is good enough, as in "
        f"rewards.{name}.satisfied: {{bad: 0, good: 1.5}}"
    )
