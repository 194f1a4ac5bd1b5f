"""The numbers of a reward matrix, under TRL's names where TRL has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from rvpo.advantage.group import GroupScores, standardise
from rvpo.advantage.level import met, reached, undeclared
from rvpo.types import Rewards, RolloutScores


def reward_metrics(scored: RolloutScores) -> dict[str, float]:
    """Statistics over the scores that exist. What is not defined is left out, never NaN.

    Standard deviations have ddof 1, as in TRL. For each aspect, which is a reward, one of its
    criteria, or all its criteria of a class:

    * `rewards/{name}/mean` and `/std`, over the batch;
    * `rewards/{name}/group_std`, the standard deviation of a column within a group, mean over
      the groups and columns that have two scores;
    * `rewards/{name}/spared_frac`, the share of its places that nobody was asked about because a
      few others of the group were; there is none where all were asked;
    * `rewards/{name}/met_frac`, the share of the scores that is good enough (`Rewards.satisfied`),
      where those of rewards that do not say what that is lie between 0 and 1;
    * `rewards/{name}/zero_std_frac`, the share of its groups in which all have the same score;
    * `rewards/{name}/missing_frac`, the share of its places without a score, and
      `/failed_frac`, the share whose score failed.

    Of all rewards together:

    * `reward`, the weighted sum of a sample's scores, mean over the samples that have any, be its
      weight 0;
    * `reward_std`, its standard deviation over the batch, and `reward_group_std`, that within a
      group, mean over groups that have two;
    * `frac_reward_zero_std`, the share of groups whose samples all have the same sum, as in TRL's
      sum_then_normalize; the estimator `gdpo` puts that of normalize_then_sum in its place.
      Equality is exact, where rounding lets TRL call some constant groups alive;
    * `rewards_joint/satisfied_all_frac`, the share of samples whose every weighted score is good
      enough (`Rewards.satisfied`), over those without an unknown score;
    * `rewards_joint/worst_mean`, the lowest weighted score of a sample, mean over the same. A score
      counts by the part of the way from bad to good that it is on.

    These two are left out where a weighted score lies outside [0, 1] and its reward does not say
    what is good enough.
    """
    rewards = scored.rewards
    if not len(rewards.values):
        return {}
    groups = standardise(rewards.values, rewards.valid, rewards.group_size, eps=0.0)
    failed = _mask(rewards, scored.failures)
    spared = _mask(rewards, scored.spared) & ~rewards.valid & ~failed
    whole = _filled(scored, spared)
    verdicts = replace(rewards, values=met(rewards).to(rewards.values))
    verdicts = _filled(replace(scored, rewards=verdicts), spared)
    metrics: dict[str, float] = {}
    for name, mask in scored.aspects.items():
        places = int(mask.sum())
        if not places:
            continue
        metrics |= _spread(f"rewards/{name}", whole, mask, groups)
        metrics |= _constant(f"rewards/{name}", mask, groups, rewards.group_size)
        metrics |= _met(f"rewards/{name}", rewards, verdicts, mask)
        metrics[f"rewards/{name}/missing_frac"] = int((mask & ~rewards.valid).sum()) / places
        metrics[f"rewards/{name}/failed_frac"] = int((mask & failed).sum()) / places
        if scored.spared:
            metrics[f"rewards/{name}/spared_frac"] = int((mask & spared).sum()) / places
    return (
        metrics
        | _joint(whole)
        | _satisfaction(rewards, whole.weights, failed | (spared & (whole.weights > 0)))
    )


def _mask(rewards: Rewards, places: Iterable[tuple[int, int]]) -> Tensor:
    """[N, M] bool, true at these rows and columns."""
    mask = torch.zeros_like(rewards.valid)
    for row, column in places:
        mask[row, column] = True
    return mask


def _filled(scored: RolloutScores, spared: Tensor) -> Rewards:
    """The rewards with the group's mean where others of the group were asked, and with the weights
    of all criteria: the few are drawn by chance, so that means over all samples stay unbiased."""
    rewards = scored.rewards
    if not scored.spared:
        return rewards
    weights = rewards.weights.clone()
    for place, weight in scored.spared.items():
        weights[place] = weight
    groups = standardise(rewards.values, rewards.valid, rewards.group_size, eps=0.0)
    shape = (-1, rewards.group_size, len(rewards.names))  # P, G, M
    in_group = rewards.valid.reshape(shape).any(dim=1, keepdim=True).expand(shape)
    spared = spared & in_group.reshape(spared.shape)
    return replace(
        rewards,
        values=groups.mean.to(rewards.values).where(spared, rewards.values),
        weights=weights,
        valid=rewards.valid | spared,
    )


def _spread(prefix: str, rewards: Rewards, mask: Tensor, groups: GroupScores) -> dict[str, float]:
    """Mean and standard deviations of the scores of an aspect, an [N, M] mask."""
    metrics: dict[str, float] = {}
    present = rewards.values[mask & rewards.valid]
    if len(present) > 0:
        metrics[f"{prefix}/mean"] = float(present.mean())
    if len(present) > 1:
        metrics[f"{prefix}/std"] = float(present.std())
    size = rewards.group_size
    within = groups.std[::size][(mask & groups.comparable)[::size]]
    if len(within) > 0:
        metrics[f"{prefix}/group_std"] = float(within.mean())
    return metrics


def _met(prefix: str, rewards: Rewards, verdicts: Rewards, mask: Tensor) -> dict[str, float]:
    """Share of an aspect's scores that are good enough, where it is known for all what that is.

    Args:
        verdicts: 1 for a score that is, else 0.
        mask: [N, M] bool, the aspect.
    """
    present = verdicts.values[mask & verdicts.valid]
    if not len(present) or bool((undeclared(rewards) & mask).any()):
        return {}
    return {f"{prefix}/met_frac": float(present.double().mean())}


def _constant(prefix: str, mask: Tensor, groups: GroupScores, size: int) -> dict[str, float]:
    compared = int((groups.comparable & mask)[::size].sum())
    if not compared:
        return {}
    constant = int((groups.constant & mask)[::size].sum())
    return {f"{prefix}/zero_std_frac": constant / compared}


def _joint(rewards: Rewards) -> dict[str, float]:
    scored = rewards.valid.any(dim=1)  # [N]
    if not bool(scored.any()):
        return {}
    weighted = rewards.weights.double() * rewards.values.double()
    total = weighted.where(rewards.valid, 0.0).sum(dim=1)  # [N]
    metrics = {"reward": float(total[scored].mean())}
    if int(scored.sum()) > 1:
        metrics["reward_std"] = float(total[scored].std())
    size = rewards.group_size
    groups = standardise(total[:, None], scored[:, None], size, eps=0.0)
    comparable = groups.comparable[::size, 0]  # [P]
    if bool(comparable.any()):
        metrics["reward_group_std"] = float(groups.std[::size, 0][comparable].mean())
        metrics["frac_reward_zero_std"] = float(groups.constant[::size].double().mean())
    return metrics


def _satisfaction(rewards: Rewards, weights: Tensor, unknown: Tensor) -> dict[str, float]:
    """
    Args:
        weights: [N, M] weights of all criteria, whether or not they train anything in this step.
        unknown: [N, M] bool, scores that nobody knows.
    """
    weighted = rewards.valid & (weights > 0)
    # Of a score that is unknown nobody knows whether it would be good enough.
    known = weighted.any(dim=1) & ~unknown.any(dim=1)  # [N]
    if not bool(known.any()):
        return {}
    if bool((undeclared(rewards) & weighted).any()):
        return {}
    satisfied = (met(rewards) | ~weighted).all(dim=1)  # [N]
    way = reached(rewards).to(rewards.values)
    worst = way.where(weighted, torch.inf).amin(dim=1)  # [N]
    return {
        "rewards_joint/satisfied_all_frac": float(satisfied[known].float().mean()),
        "rewards_joint/worst_mean": float(worst[known].mean()),
    }
