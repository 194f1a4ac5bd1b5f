"""Numbers of a run's first steps from which it follows which estimator suits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from rvpo.advantage.group import standardise
from rvpo.advantage.level import met, undeclared
from rvpo.advantage.state import undivided
from rvpo.lazy import torch
from rvpo.replay.replayed import mean
from rvpo.report.score_files import StepScores

if TYPE_CHECKING:
    from torch import Tensor

_ERROR: Final = 0.05
"""Chance that any pair of rewards without a conflict is taken for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredReward:
    """One reward, or one aspect of a reward whose criteria the data bring."""

    name: str
    scores: int
    """Scores that there are."""
    missing: float
    """Share of its scores that were lost or do not apply."""
    is_declared: bool
    """True where it is known what is good enough: a declaration, or scores that lie in [0, 1]."""
    met: float
    """Share of its scores that are good enough; of an undeclared reward, of 1 and more."""
    trend: float
    """Change of that share, or of the mean in standard deviations where nothing is declared, from
    the first half of the steps to the second."""
    trend_error: float
    """Standard error of the trend; infinite for fewer than two steps in a half."""
    spread: float
    """Standard deviation within groups, root mean square over those in which it varies; 0 if
    none."""
    dead: float
    """Share of its groups in which it is constant."""
    reliability: float | None
    """Mean of the last step, where repeated verdicts tell it."""

    @property
    def is_never_sampled(self) -> bool:
        """True where no sample met it, as far as is known, and none differed from another."""
        return self.is_declared and self.met == 0 and self.dead == 1

    @property
    def falls(self) -> bool:
        """True for a fall beyond chance, three standard errors, that is worth a look."""
        return self.trend < -max(0.03, 3 * self.trend_error)

    @property
    def rises(self) -> bool:
        """True for a rise beyond chance, three standard errors, that is worth a look."""
        return self.trend > max(0.03, 3 * self.trend_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPair:
    """Two rewards that go together within groups, or against each other."""

    first: str
    second: str
    correlation: float
    """Pearson's, of deviations from the group's mean, over the groups in which both vary."""
    limit: float
    """Correlation below which it is a conflict: chance alone hardly goes further down."""

    @property
    def is_conflict(self) -> bool:
        """True where the samples that are better by one are worse by the other."""
        return self.correlation < self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """Everything that advice follows from."""

    steps: int
    groups: int
    live_groups: int
    """Groups in which some reward that carries weight varies."""
    rewards: tuple[MeasuredReward, ...]
    """Rewards that carry weight."""
    conflicts: tuple[MeasuredPair, ...]
    """Conflicts, the strongest first."""

    @property
    def scale_ratio(self) -> float:
        """Largest spread over the smallest, of rewards that vary; 1 for fewer than two."""
        spreads = [each.spread for each in self.rewards if each.spread > 0]
        return max(spreads) / min(spreads) if spreads else 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Unit:
    """The scores of an aspect, one for each sample: the mean over its columns."""

    values: Tensor  # [N] float64
    valid: Tensor  # [N] bool
    met: Tensor  # [N] float64, share of its columns that are good enough
    reliability: float | None
    is_declared: bool


def measured(steps: Sequence[StepScores]) -> MeasuredRun:
    """Measure the steps, in their order.

    Raises:
        ValueError: there is none.
    """
    if not steps:
        raise ValueError("there is no step to measure")
    names = [name for name in undivided(steps[0].aspects) if _carries(name, steps)]
    units = {name: [_unit(name, step) for step in steps] for name in names}
    size = steps[0].rewards.group_size
    return MeasuredRun(
        steps=len(steps),
        groups=sum(len(step.rewards.values) // size for step in steps),
        live_groups=sum(_live(step) for step in steps),
        rewards=tuple(_reward(name, found, size) for name, found in units.items()),
        conflicts=_conflicts(units, size),
    )


def _carries(name: str, steps: Sequence[StepScores]) -> bool:
    masks = ((step.aspects[name], step.rewards) for step in steps if name in step.aspects)
    return any(bool((mask & (rewards.weights > 0)).any()) for mask, rewards in masks)


def _live(step: StepScores) -> int:
    """Groups that some weighted reward tells apart."""
    rewards = step.rewards
    scores = standardise(rewards.values, rewards.weighted, rewards.group_size, eps=1.0)
    telling = scores.comparable & ~scores.constant
    return int(telling[:: rewards.group_size].any(dim=1).sum())


def _unit(name: str, step: StepScores) -> _Unit:
    rewards = step.rewards
    mask = step.aspects.get(name, torch.zeros_like(rewards.valid))
    told = rewards.valid & mask
    count = told.sum(dim=1)
    share = told.double() / count.clamp(min=1)[:, None]
    known = rewards.reliability
    return _Unit(
        values=(rewards.values.double() * share).sum(dim=1),
        valid=count > 0,
        met=(met(rewards).double() * share).sum(dim=1),
        reliability=None if known is None or not bool(mask.any()) else float(known[mask].mean()),
        is_declared=not bool((undeclared(rewards) & mask).any()),
    )


def _reward(name: str, units: Sequence[_Unit], size: int) -> MeasuredReward:
    values, valid = torch.cat([u.values for u in units]), torch.cat([u.valid for u in units])
    scores = standardise(values[:, None], valid[:, None], size, eps=1.0)
    comparable, constant = scores.comparable[::size, 0], scores.constant[::size, 0]
    varying = scores.std[::size, 0][comparable & ~constant]
    count, is_declared = int(valid.sum()), all(u.is_declared for u in units)
    good = torch.cat([u.met for u in units])[valid]
    curve = [_mean(u.met if is_declared else u.values, u.valid) for u in units]
    whole = float(values[valid].std()) if count > 1 and not is_declared else 1.0
    trend, error = _trend([x / (whole or 1.0) for x in curve if x is not None])
    return MeasuredReward(
        name=name,
        scores=count,
        missing=1 - count / max(1, len(valid)),
        is_declared=is_declared,
        met=float(good.mean()) if count else 0.0,
        trend=trend,
        trend_error=error,
        spread=float(varying.square().mean().sqrt()) if len(varying) else 0.0,
        dead=float(constant.sum() / comparable.sum()) if bool(comparable.any()) else 1.0,
        reliability=mean([u.reliability for u in units][-1:]),
    )


def _mean(values: Tensor, valid: Tensor) -> float | None:
    return float(values[valid].mean()) if bool(valid.any()) else None


def _trend(curve: Sequence[float]) -> tuple[float, float]:
    """Mean of the second half of a curve less that of the first, and its standard error."""
    half = len(curve) // 2
    if half < 2:
        return 0.0, math.inf
    first = torch.tensor(curve[:half], dtype=torch.float64)
    second = torch.tensor(curve[-half:], dtype=torch.float64)
    error = math.sqrt((float(first.var()) + float(second.var())) / half)
    return float(second.mean() - first.mean()), error


def _conflicts(units: Mapping[str, Sequence[_Unit]], size: int) -> tuple[MeasuredPair, ...]:
    pairs = list(combinations(units, 2))
    if not pairs:
        return ()
    quantile = NormalDist().inv_cdf(1 - _ERROR / len(pairs))
    found = (_pair(a, b, units[a], units[b], size, quantile) for a, b in pairs)
    conflicts = [pair for pair in found if pair is not None and pair.is_conflict]
    return tuple(sorted(conflicts, key=lambda pair: pair.correlation))


def _pair(
    first: str,
    second: str,
    one: Sequence[_Unit],
    other: Sequence[_Unit],
    size: int,
    quantile: float,
) -> MeasuredPair | None:
    """The correlation of two rewards; None where they never vary together."""
    both = torch.cat([a.valid & b.valid for a, b in zip(one, other, strict=True)])[:, None]
    x, y = (
        standardise(torch.cat([u.values for u in units])[:, None], both, size, eps=1.0)
        for units in (one, other)
    )
    vary = ~x.constant & ~y.constant & x.comparable & both
    dx, dy = x.centred.where(vary, 0.0), y.centred.where(vary, 0.0)
    spread = float((dx.square().sum() * dy.square().sum()).sqrt())
    if spread <= 0:
        return None
    free = int(vary.sum()) - int(vary.reshape(-1, size).any(dim=1).sum())
    return MeasuredPair(
        first=first,
        second=second,
        correlation=float((dx * dy).sum()) / spread,
        limit=-max(0.1, quantile / math.sqrt(max(1, free))),
    )
