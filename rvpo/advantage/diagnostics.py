"""Diagnostics of an advantage, as numbers to log: the same names for every estimator.

RVPO adds three of its own, GDPO TRL's `frac_reward_zero_std`. Over the trained rows of a step:

    advantage/{mean,std,abs_mean,min,max,frac_zero}   of the advantage
    advantage_raw/{...}                    of the aggregate before re-centring and whitening
    advantage/weight/{reward}              mean of dA/dZ_j, scaled to sum to 1 over each row; of
                                           an aspect of several columns, their sum
    advantage/weight_entropy               mean entropy of these weights, in nats; rows with a
                                           negative weight (MeanVariance has them) are left out
    advantage/variance_penalty             mean of (weighted mean of Z) - A, on the scale of Z; both
                                           of R instead of Z where scores are not standardised
    advantage/bottleneck/{reward}          share of rows whose lowest z is this reward's, ties
                                           counting in equal parts
    advantage/taylor_residual              mean of |A - (mu - (k/2) sigma^2)|; RVPO, finite k
    advantage/taylor_bound                 mean of what that cannot exceed in each row

and over the whole step:

    advantage/untrained_frac               share of samples left out of the loss
    advantage/dead_group_frac              share of comparable groups with every used channel dead
    rewards/{reward}/zero_std_frac         share of a reward's groups in which it is constant
    rvpo/k                                 risk coefficient of the step; RVPO, finite k

A number that is undefined, such as the mean of no rows, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rvpo.advantage.aggregate import Aggregate, lowest
from rvpo.advantage.group import GroupScores, in_dead_group
from rvpo.lazy import torch
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor


NEGLIGIBLE = 1e-6
"""An advantage smaller than this counts as zero: whitening leaves rounding, not exact zeros."""


def diagnose(
    rewards: Rewards,
    scores: GroupScores,
    trained: Tensor,
    aggregate: Aggregate,
    advantages: Tensor,
) -> dict[str, float]:
    """All diagnostics of a step.

    Args:
        rewards: the matrix of the step.
        scores: its group statistics.
        trained: [N] bool, R of them true.
        aggregate: [R], one value for each trained row.
        advantages: [R], final.
    """
    used = scores.present & rewards.used
    metrics = {**_step(rewards, scores, used), **aggregate.of_step}
    if trained.numel():
        metrics["advantage/untrained_frac"] = 1 - trained.double().mean().item()
    if not trained.any():
        return metrics
    metrics |= _moments("advantage", advantages)
    metrics |= _moments("advantage_raw", aggregate.values)
    metrics |= _channels(rewards, trained, scores.z[trained], used[trained], aggregate.contribution)
    metrics["advantage/variance_penalty"] = aggregate.penalty.mean().item()
    return metrics | {name: rows.mean().item() for name, rows in aggregate.per_row.items()}


def _moments(prefix: str, values: Tensor) -> dict[str, float]:
    metrics = {
        f"{prefix}/mean": values.mean().item(),
        f"{prefix}/abs_mean": values.abs().mean().item(),
        f"{prefix}/min": values.min().item(),
        f"{prefix}/max": values.max().item(),
        f"{prefix}/frac_zero": (values.abs() < NEGLIGIBLE).double().mean().item(),
    }
    if values.numel() > 1:
        metrics[f"{prefix}/std"] = values.std().item()
    return metrics


def _channels(
    rewards: Rewards, trained: Tensor, z: Tensor, used: Tensor, contribution: Tensor
) -> dict[str, float]:
    """Metrics of each aspect; z, used and contribution are [R, M], of the trained rows."""
    # GRPO with missing="sum" also trains on rows whose every score is alone in its channel.
    rows = used.any(dim=1)
    bottlenecks = lowest(z[rows], used[rows])[1]
    metrics = {}
    for name, mask in rewards.aspects.items():
        if not bool((mask & (rewards.weights > 0)).any()):
            continue
        own = mask[trained]
        weight = contribution.where(own, 0.0).sum(dim=1).mean()
        metrics[f"advantage/weight/{name}"] = weight.item()
        if rows.any():
            share = bottlenecks.where(own[rows], 0.0).sum(dim=1).mean()
            metrics[f"advantage/bottleneck/{name}"] = share.item()
    proper = contribution[(contribution >= 0).all(dim=1)]
    if proper.numel():
        entropy = -torch.special.xlogy(proper, proper).sum(dim=1)
        metrics["advantage/weight_entropy"] = entropy.mean().item()
    return metrics


def _step(rewards: Rewards, scores: GroupScores, used: Tensor) -> dict[str, float]:
    size = rewards.group_size
    metrics = {}
    compared, dead = scores.compared[::size], scores.dead[::size]  # [P, M]
    for name, mask in rewards.aspects.items():
        groups = int((compared & mask[::size]).sum())
        if groups:
            constant = int((dead & mask[::size]).sum())
            metrics[f"rewards/{name}/zero_std_frac"] = constant / groups
    comparable = used.any(dim=1).reshape(-1, size).any(dim=1)  # [P]
    if comparable.any():
        dead_groups = in_dead_group(scores, used, size)[::size][comparable]
        metrics["advantage/dead_group_frac"] = dead_groups.double().mean().item()
    return metrics
