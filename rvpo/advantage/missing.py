"""The rule for missing scores, one for all estimators and applied before they aggregate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.group import GroupScores, standardise
from rvpo.advantage.level import at_levels
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor

Missing = Literal["drop", "group_mean", "zero", "skip_sample"]
"""A score that is missing

    drop           leaves its row's aggregate, which runs over the scores that remain
    group_mean     counts as the mean of its reward in the group, so that it moves nothing
    zero           counts as a score of 0, in the group's statistics too
    skip_sample    takes its row out of whitening and the loss

where a sibling has that score. A score that no sibling has does not exist for the group. A row
without any usable score of its own is not trained on, whatever the rule.
"""


InputKind = Literal["score", "level"]
"""Numbers that an estimator reads: the scores as they are, or their levels of satisfaction
(`level`)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A step's scores as an estimator reads them; the masks are explained in `group`."""

    given: Rewards  # as they were
    rewards: Rewards  # at their levels if wanted, and with 0 for missing scores under `zero`
    scores: GroupScores  # of these rewards
    known: GroupScores  # of the scores there are; the same but under the rule `zero`
    values: Tensor  # [N, M] float64, each score, shrunk; the group's mean where a row has none
    usable: Tensor  # [N, M] bool
    counted: Tensor  # [N, M] bool
    trained: Tensor  # [N] bool


def read(
    given: Rewards,
    missing: Missing,
    eps: float,
    by_reliability: bool = False,
    inputs: InputKind = "score",
    by_std: bool = True,
) -> Reading:
    """Turn scores into levels if wanted, apply a rule for missing ones, and shrink noisy ones.

        r -> mean_G r + rho (r - mean_G r)              Kelley 1927, with rho the reliability

    Mean and standard deviation of the group stay those of r, so that a z-score becomes rho Z.

    Args:
        given: all samples of the step.
        missing: the rule.
        eps: added to the standard deviation of z-scores.
        by_reliability: shrink.
        inputs: scores or levels.
        by_std: divide by the standard deviation; otherwise a z-score is the centred score.

    Raises:
        ValueError: scores shall be shrunk and their reliability is not given.
        RewardError: levels are wanted of a reward that does not say what is good enough.
    """
    rewards = at_levels(given) if inputs == "level" else given
    size = rewards.group_size
    scores = known = standardise(rewards.values, rewards.valid, size, eps, by_std=by_std)
    if missing == "zero":
        rewards = _with_zeros(rewards)
        scores = standardise(rewards.values, rewards.valid, size, eps, by_std=by_std)
    values = rewards.values.double().where(rewards.valid, scores.mean)
    if by_reliability:
        rho = _reliability(rewards)
        scores, known = scores.shrunk(rho), known.shrunk(rho)
        # What is sure stays as it is to the last bit.
        values = values.where(rho == 1, scores.mean + rho * (values - scores.mean))
    usable = scores.comparable & rewards.weighted
    asked = scores.comparable & (rewards.weights > 0)  # of the row, be the score there or not
    trained = usable.any(dim=1)
    if missing == "skip_sample":
        trained = trained & (usable | ~asked).all(dim=1)
    return Reading(
        given=given,
        rewards=rewards,
        scores=scores,
        known=known,
        values=values,
        usable=usable,
        counted=asked if missing == "group_mean" else usable,
        trained=trained,
    )


def _reliability(rewards: Rewards) -> Tensor:
    """[N, M] float64."""
    if rewards.reliability is None:
        raise ValueError(
            "weight_by_reliability needs the reliability of each reward; give Rewards its "
            "`reliability`, or leave weight_by_reliability out"
        )
    return rewards.reliability.double()


def _with_zeros(rewards: Rewards) -> Rewards:
    """The rewards with 0 where a row that has some weighted score lacks one of a sibling's."""
    samples, channels = rewards.values.shape
    size = rewards.group_size
    in_group = rewards.valid.reshape(samples // size, size, channels).any(dim=1)  # [P, M]
    read_as_0 = in_group.repeat_interleave(size, dim=0) & rewards.weighted.any(dim=1, keepdim=True)
    return replace(rewards, valid=rewards.valid | read_as_0)
