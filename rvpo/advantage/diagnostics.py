"""Diagnostics of an advantage, as numbers to log: the same names for every estimator.

RVPO adds three of its own, GDPO TRL's `frac_reward_zero_std`. Over the trained rows of a step:

    advantage/{mean,std,abs_mean,min,max,frac_zero}   of the advantage
    advantage_raw/{...}                    of the aggregate before re-centring and whitening
    advantage/weight_entropy               mean entropy of the weights below, in nats; rows with a
                                           negative weight (MeanVariance has them) are left out
    advantage/variance_penalty             mean of (weighted mean of Z) - A, on the scale of Z; both
                                           of R instead of Z where scores are not standardised
    advantage/taylor_residual              mean of |A - (mu - (k/2) sigma^2)|; RVPO, finite k
    advantage/taylor_bound                 mean of what that cannot exceed in each row

and over the whole step:

    advantage/untrained_frac               share of samples left out of the loss
    advantage/dead_group_frac              share of comparable groups with every usable channel dead
    rvpo/k                                 risk coefficient of the step; RVPO, finite k
    advantage/noisy_bottleneck             share of rows whose lowest z is of a reward whose
                                           reliability is below a half, ties counting in equal parts
    advantage/noisy_weight                 mean weight of such rewards; both where it is known

and of each reward, or in reports of each aspect of the rewards:

    advantage/pull/{reward}                share of what the advantages move in this reward, below 0
                                           where they push it down (`pull`)
    advantage/weight/{reward}              mean of dA/dZ_j, scaled to sum to 1 over each row; of
                                           an aspect of several columns, their sum. No measure of
                                           what a reward moves: the rows that matter may be few
    advantage/bottleneck/{reward}          share of rows whose lowest z is this reward's, ties
                                           counting in equal parts
    rewards/{reward}/zero_std_frac         share of a reward's groups in which it is constant

A number that is undefined, such as the mean of no rows, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rvpo.advantage.aggregate import Aggregate, lowest
from rvpo.advantage.group import GroupScores, in_dead_group
from rvpo.advantage.pull import pull_by_aspect
from rvpo.agreement import NOISY
from rvpo.lazy import torch
from rvpo.types import Advantages, Channels, Rewards

if TYPE_CHECKING:
    from torch import Tensor


NEGLIGIBLE = 1e-6
"""An advantage smaller than this counts as zero: whitening leaves rounding, not exact zeros."""


def diagnosed(
    rewards: Rewards,
    scores: GroupScores,
    usable: Tensor,
    trained: Tensor,
    aggregate: Aggregate,
    advantages: Tensor,
) -> Advantages:
    """The advantages of a step, with all diagnostics.

    Args:
        rewards: the matrix of the step.
        scores: its group statistics.
        usable: [N, M] bool.
        trained: [N] bool, R of them true.
        aggregate: [R], one value for each trained row.
        advantages: [R], final.
    """
    values = torch.zeros_like(rewards.values[:, 0])
    values[trained] = advantages.to(values)
    channels = _channels(scores, usable, trained, aggregate)
    return Advantages(
        values=values,
        trained=trained,
        z=scores.z.to(rewards.values),
        metrics={
            **_of_step(scores, usable, trained, aggregate, advantages, rewards.group_size),
            **_noise(rewards, channels, trained),
            **_by_aspect(rewards, channels, trained, rewards.columns),
            **_pulls(rewards, values, trained, rewards.columns),
        },
        channels=channels,
    )


def metrics_by_aspect(
    rewards: Rewards, advantages: Advantages, aspects: Mapping[str, Tensor]
) -> dict[str, float]:
    """The metrics of the advantages, with those of aspects in place of those of columns.

    Args:
        rewards: the matrix of the step.
        advantages: those of these rewards; an estimator that tells nothing of its channels has of
            aspects the pulls alone.
        aspects: [N, M] bool masks by name.
    """
    channels, trained = advantages.channels, advantages.trained

    def named(masks: Mapping[str, Tensor]) -> dict[str, float]:
        told = {} if channels is None else _by_aspect(rewards, channels, trained, masks)
        return told | _pulls(rewards, advantages.values, trained, masks)

    of_columns = named(rewards.columns)
    rest = {name: x for name, x in advantages.metrics.items() if name not in of_columns}
    return rest | named(aspects)


def _pulls(
    rewards: Rewards, advantages: Tensor, trained: Tensor, aspects: Mapping[str, Tensor]
) -> dict[str, float]:
    found = pull_by_aspect(rewards, advantages, trained, aspects)
    return {f"advantage/pull/{name}": pull for name, pull in found.items()}


def _noise(rewards: Rewards, channels: Channels, trained: Tensor) -> dict[str, float]:
    """Part that rewards of low reliability have in the advantages."""
    if rewards.reliability is None:
        return {}
    noisy, metrics = rewards.reliability < NOISY, {}
    told = channels.bottleneck.any(dim=1)
    if bool(told.any()):
        lowest_of = channels.bottleneck.where(noisy, 0.0)[told].sum(dim=1)
        metrics["advantage/noisy_bottleneck"] = lowest_of.mean().item()
    if bool(trained.any()):
        weight_of = channels.weight.where(noisy, 0.0)[trained].sum(dim=1)
        metrics["advantage/noisy_weight"] = weight_of.mean().item()
    return metrics


def _by_aspect(
    rewards: Rewards, channels: Channels, trained: Tensor, aspects: Mapping[str, Tensor]
) -> dict[str, float]:
    metrics, size = {}, rewards.group_size
    comparable, constant = channels.comparable[::size], channels.constant[::size]  # [P, M]
    weighing, weight = rewards.weights > 0, channels.weight[trained]
    # A sum that reads a missing score as 0 also trains rows whose every score is alone in its
    # channel: these have no lowest z.
    told = channels.bottleneck.any(dim=1)
    bottleneck = channels.bottleneck[told]
    for name, mask in aspects.items():
        groups = int((comparable & mask[::size]).sum())
        if groups:
            dead = int((constant & mask[::size]).sum())
            metrics[f"rewards/{name}/zero_std_frac"] = dead / groups
        if not len(weight) or not bool((mask & weighing).any()):
            continue
        own = weight.where(mask[trained], 0.0).sum(dim=1).mean()
        metrics[f"advantage/weight/{name}"] = own.item()
        if len(bottleneck):
            share = bottleneck.where(mask[told], 0.0).sum(dim=1).mean()
            metrics[f"advantage/bottleneck/{name}"] = share.item()
    return metrics


def _of_step(
    scores: GroupScores,
    usable: Tensor,
    trained: Tensor,
    aggregate: Aggregate,
    advantages: Tensor,
    group_size: int,
) -> dict[str, float]:
    metrics = {**_dead_groups(scores, usable, group_size), **aggregate.of_step}
    if trained.numel():
        metrics["advantage/untrained_frac"] = 1 - trained.double().mean().item()
    if not trained.any():
        return metrics
    metrics |= _moments("advantage", advantages)
    metrics |= _moments("advantage_raw", aggregate.values)
    metrics |= _entropy(aggregate.contribution)
    metrics["advantage/variance_penalty"] = aggregate.penalty.mean().item()
    return metrics | {name: rows.mean().item() for name, rows in aggregate.per_row.items()}


def _channels(
    scores: GroupScores, usable: Tensor, trained: Tensor, aggregate: Aggregate
) -> Channels:
    weight, bottleneck = torch.zeros_like(scores.z), torch.zeros_like(scores.z)
    weight[trained] = aggregate.contribution
    if scores.reliability is not None:  # dA/dZ of Z as it was before it was shrunk
        weight *= scores.reliability
    told = trained & usable.any(dim=1)
    bottleneck[told] = lowest(scores.z[told], usable[told])[1]
    return Channels(
        comparable=scores.comparable,
        constant=scores.constant,
        weight=weight,
        bottleneck=bottleneck,
    )


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


def _entropy(contribution: Tensor) -> dict[str, float]:
    """Entropy of the [R, M] weights, in nats, mean over the rows without a negative one."""
    proper = contribution[(contribution >= 0).all(dim=1)]
    if not proper.numel():
        return {}
    entropy = -torch.special.xlogy(proper, proper).sum(dim=1)
    return {"advantage/weight_entropy": entropy.mean().item()}


def _dead_groups(scores: GroupScores, usable: Tensor, group_size: int) -> dict[str, float]:
    comparable = usable.any(dim=1).reshape(-1, group_size).any(dim=1)  # [P]
    if not comparable.any():
        return {}
    dead = in_dead_group(scores, usable, group_size)[::group_size][comparable]
    return {"advantage/dead_group_frac": dead.double().mean().item()}
