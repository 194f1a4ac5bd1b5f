"""Levels of satisfaction: scores on a scale that says what is good enough.

    u_j = t_j / 2 + [r_j >= good_j] / 2,    t_j = clip((r_j - bad_j) / (good_j - bad_j), 0, 1)

A level is 0 at `bad` and below, 1 at `good` and above. The second half is won at `good` alone, so
that nearly is not enough. A verdict of 0 or 1 is its own level. Unlike a z-score, a level says
whether a sample is good, and not only whether it is better than its siblings; unlike a raw score
it has a limit, so that more of what is satisfied moves nothing. t_j is the part of the way. A score
reaches good_j up to what rounding to 32 bits may take (`rvpo.satisfied.least`).

Ours; the mean level of a verdict in a group is its rate of success, by which MaxRL
(arXiv:2602.02710) weighs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rvpo.errors import RewardError
from rvpo.lazy import torch
from rvpo.satisfied import MET_OR_NOT, Satisfied, least
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor


def levels(rewards: Rewards) -> Tensor:
    """[N, M] float64 in [0, 1], 0 where there is no score.

    Raises:
        RewardError: see `check_declared`.
    """
    check_declared(rewards)
    return (reached(rewards) / 2).where(~met(rewards), 1.0)


def reached(rewards: Rewards) -> Tensor:
    """[N, M] float64 in [0, 1]: the part of the way from bad to good, 0 where there is no score. Of
    a score between 0 and 1 that nothing is declared of it is the score itself."""
    bad, good = _columns(rewards, [(each.bad, each.good) for each in _declarations(rewards)])
    way = ((rewards.values.double() - bad) / (good - bad)).clamp(0, 1)
    return way.where(rewards.valid, 0.0)


def above_bad(rewards: Rewards) -> Tensor:
    """[N, M] float64 of at least 0: each score, measured from what is bad.

    Raises:
        RewardError: a reward without a declaration has a score below 0.
    """
    _refuse(
        rewards,
        rewards.weighted & _silent(rewards) & (rewards.values < MET_OR_NOT.bad),
        "the estimator measures scores from what is bad, which without a declaration is 0; say "
        "which score counts for nothing",
    )
    (bad,) = _columns(rewards, [(each.bad,) for each in _declarations(rewards)])
    return (rewards.values.double() - bad).clamp(min=0)


def met(rewards: Rewards) -> Tensor:
    """[N, M] bool: the score is there, and good enough: 1 where its reward does not say what is."""
    (enough,) = _columns(rewards, [(least(each.good),) for each in _declarations(rewards)])
    return rewards.valid & (rewards.values.double() >= enough)


def at_levels(rewards: Rewards) -> Rewards:
    """The rewards with levels in place of scores, which need no declaration.

    Raises:
        RewardError: see `check_declared`.
    """
    return replace(rewards, values=levels(rewards), satisfied=(None,) * len(rewards.names))


def undeclared(rewards: Rewards) -> Tensor:
    """[N, M] bool: a score that has no level, for it lies outside [0, 1] and its reward does not
    say what is good enough; nobody knows whether it is."""
    outside = (rewards.values < MET_OR_NOT.bad) | (rewards.values > MET_OR_NOT.good)
    return rewards.valid & _silent(rewards) & outside


def check_declared(rewards: Rewards) -> None:
    """Refuse what has no level.

    Raises:
        RewardError: a reward of weight above 0 that does not say what is good enough has a score
            outside [0, 1].
    """
    _refuse(
        rewards,
        undeclared(rewards) & rewards.weighted,
        "the estimator reads levels, which without a declaration are of scores between 0 and 1; "
        "say which score is good enough and which counts for nothing",
    )


def _silent(rewards: Rewards) -> Tensor:
    """[M] bool: the rewards that do not say what is good enough."""
    silent = torch.tensor([each is None for each in rewards.satisfied], dtype=torch.bool)
    return silent.to(rewards.values.device)


def _refuse(rewards: Rewards, wrong: Tensor, why: str) -> None:
    """
    Args:
        wrong: [N, M] bool; where none is, nothing is refused.
    """
    if not bool(wrong.any()):
        return
    row, column = (int(place) for place in wrong.nonzero()[0])
    name, score = rewards.names[column], float(rewards.values[row, column])
    raise RewardError(
        f"reward '{name}' has a score of {score:g}, and {why}: "
        f"rewards.{name.partition('/')[0]}.satisfied: {{bad: ..., good: ...}}"
    )


def _declarations(rewards: Rewards) -> list[Satisfied]:
    return [each or MET_OR_NOT for each in rewards.satisfied]


def _columns(rewards: Rewards, numbers: Sequence[tuple[float, ...]]) -> tuple[Tensor, ...]:
    """Numbers of each column, [M] float64 each."""
    return torch.tensor(numbers, dtype=torch.float64, device=rewards.values.device).unbind(dim=1)
