"""The numbers of a reward matrix, under TRL's names where TRL has them."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor

from rvpo.types import Rewards


def reward_metrics(rewards: Rewards) -> dict[str, float]:
    """Statistics over the scores that exist. What is not defined is left out, never NaN.

    Standard deviations have ddof 1, as in TRL. For each reward:

    * `rewards/{name}/mean` and `/std`, over the batch;
    * `rewards/{name}/group_std`, its standard deviation within a group, mean over the groups
      that have two scores;
    * `rewards/{name}/missing_frac`, the share of samples without a score, and `/failed_frac`,
      the share whose score failed.

    Of all rewards together:

    * `reward`, the weighted sum of a sample's scores, mean over the samples that have any;
    * `reward_std`, its standard deviation over the batch, and `reward_group_std`, that within a
      group, mean over groups;
    * `frac_reward_zero_std`, the share of groups whose samples all have the same sum;
    * `rewards_joint/satisfied_all_frac`, the share of samples whose every weighted score is 1,
      over those without a failed score, where all weighted scores lie between 0 and 1.
    """
    metrics: dict[str, float] = {}
    for column, name in enumerate(rewards.names):
        values, valid = rewards.values[:, column], rewards.valid[:, column]
        metrics |= _spread(f"rewards/{name}", values, valid, rewards.group_size)
        if len(values):
            failed = sum(1 for _, at in rewards.failures if at == column)
            metrics[f"rewards/{name}/missing_frac"] = float((~valid).float().mean())
            metrics[f"rewards/{name}/failed_frac"] = failed / len(values)
    return metrics | _joint(rewards)


def _spread(prefix: str, values: Tensor, valid: Tensor, group_size: int) -> dict[str, float]:
    """Mean and standard deviations of one channel, [N] values."""
    metrics: dict[str, float] = {}
    present = values[valid]
    if len(present) > 0:
        metrics[f"{prefix}/mean"] = float(present.mean())
    if len(present) > 1:
        metrics[f"{prefix}/std"] = float(present.std())
    within = _group_stds(values, valid, group_size)
    if within:
        metrics[f"{prefix}/group_std"] = fmean(within)
    return metrics


def _joint(rewards: Rewards) -> dict[str, float]:
    used = rewards.used
    scored = used.any(dim=1)  # [N]
    if not bool(scored.any()):
        return {}
    total = (rewards.values * rewards.weights * used).sum(dim=1)  # [N]
    metrics = {"reward": float(total[scored].mean())}
    if int(scored.sum()) > 1:
        metrics["reward_std"] = float(total[scored].std())
    within = _group_stds(total, scored, rewards.group_size)
    if within:
        metrics["reward_group_std"] = fmean(within)
        metrics["frac_reward_zero_std"] = within.count(0.0) / len(within)
    trained = rewards.values[used]
    if bool(((trained >= 0) & (trained <= 1)).all()):
        satisfied = ((rewards.values >= 1) | ~used).all(dim=1)  # [N]
        known = scored.clone()  # of a failed score nobody knows whether it would have been 1
        known[[row for row, _ in rewards.failures]] = False
        if bool(known.any()):
            metrics["rewards_joint/satisfied_all_frac"] = float(satisfied[known].float().mean())
    return metrics


def _group_stds(values: Tensor, valid: Tensor, group_size: int) -> list[float]:
    """The standard deviation of each group with at least two valid values."""
    groups = zip(torch.split(values, group_size), torch.split(valid, group_size), strict=True)
    return [float(group[mask].std()) for group, mask in groups if int(mask.sum()) > 1]
