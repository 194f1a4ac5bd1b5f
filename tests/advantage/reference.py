"""The flow and the diagnostics of the z-score estimators, once more, a number at a time.

Plain Python floats and loops, written from the formulas: what the package's tensors must equal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rvpo.advantage import GDPO, RVPO, HardMin, MeanVariance

ZScore = GDPO | RVPO | MeanVariance | HardMin


@dataclass(frozen=True, kw_only=True)
class Step:
    """A reward matrix; None is a missing score."""

    scores: Sequence[Sequence[float | None]]  # [N][M]
    weights: Sequence[Sequence[float]]  # [N][M]
    group_size: int

    @property
    def channels(self) -> range:
        return range(len(self.scores[0]))

    @property
    def groups(self) -> list[range]:
        """The rows of each group."""
        size = self.group_size
        return [range(start, start + size) for start in range(0, len(self.scores), size)]

    def siblings(self, i: int) -> range:
        return self.groups[i // self.group_size]

    def known(self, i: int, j: int) -> list[float]:
        """The scores that row i's group has in channel j."""
        return [score for row in self.siblings(i) if (score := self.scores[row][j]) is not None]

    def compared(self, i: int, j: int) -> bool:
        return len(self.known(i, j)) >= 2

    def dead(self, i: int, j: int) -> bool:
        return self.compared(i, j) and len(set(self.known(i, j))) == 1

    def z(self, i: int, j: int, eps: float) -> float:
        score, known = self.scores[i][j], self.known(i, j)
        if score is None or not self.compared(i, j) or self.dead(i, j):
            return 0.0
        mean = sum(known) / len(known)
        variance = sum((other - mean) ** 2 for other in known) / (len(known) - 1)
        return (score - mean) / (math.sqrt(variance) + eps)

    def used(self, i: int) -> list[int]:
        """The channels that row i has, compares and weighs."""
        return [
            j
            for j in self.channels
            if self.scores[i][j] is not None and self.compared(i, j) and self.weights[i][j] > 0
        ]

    def lacks(self, i: int) -> bool:
        """Row i misses a score that it would be weighed by and that its siblings have."""
        return any(
            self.scores[i][j] is None and self.compared(i, j) and self.weights[i][j] > 0
            for j in self.channels
        )

    def dead_group(self, i: int) -> bool:
        """Nothing that any row of i's group is weighed by tells its rows apart."""
        return all(self.dead(row, j) for row in self.siblings(i) for j in self.used(row))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row's aggregate."""

    value: float
    contribution: dict[int, float]  # by channel
    penalty: float
    residual: float | None  # of the Taylor series; RVPO's, for finite k
    bound: float | None = None  # of the residual


@dataclass(frozen=True, kw_only=True)
class Expected:
    values: list[float]
    trained: list[bool]
    z: list[list[float]]
    metrics: dict[str, float]


def run(estimator: ZScore, step: Step) -> Expected:
    """All that the estimator owes for the step."""
    rows = {i: aggregate(estimator, step, i) for i in trained_rows(estimator, step)}
    advantages = {i: row.value for i, row in rows.items()}
    if not estimator.standardise:
        advantages = compared(advantages, step, estimator.eps)
    if estimator.dead_groups == "recentre":
        for group in step.groups:
            members = [i for i in group if i in rows]
            mean = statistics.fmean([advantages[i] for i in members]) if members else 0.0
            advantages |= {i: advantages[i] - mean for i in members}
    if estimator.whiten:
        advantages = whitened(advantages, estimator.eps)
    indices = range(len(step.scores))
    return Expected(
        values=[advantages.get(i, 0.0) for i in indices],
        trained=[i in rows for i in indices],
        z=[[step.z(i, j, estimator.eps) for j in step.channels] for i in indices],
        metrics=metrics(estimator, step, rows, advantages),
    )


def trained_rows(estimator: ZScore, step: Step) -> list[int]:
    trained = []
    for i in range(len(step.scores)):
        refused = estimator.require_all and step.lacks(i)
        masked = estimator.dead_groups == "mask" and step.dead_group(i)
        if step.used(i) and not refused and not masked:
            trained.append(i)
    return trained


def whitened(values: dict[int, float], eps: float) -> dict[int, float]:
    if len(set(values.values())) < 2:
        return dict.fromkeys(values, 0.0)
    mean, std = statistics.fmean(values.values()), statistics.stdev(values.values())
    return {i: (value - mean) / (std + eps) for i, value in values.items()}


def compared(values: dict[int, float], step: Step, eps: float) -> dict[int, float]:
    """Each value as a z-score in its group."""
    scores = [[values.get(i)] for i in range(len(step.scores))]
    totals = Step(scores=scores, weights=[[1.0]] * len(scores), group_size=step.group_size)
    return {i: totals.z(i, 0, eps) for i in values}


def aggregate(estimator: ZScore, step: Step, i: int) -> Row:
    channels = step.used(i)
    if not estimator.standardise:
        channels = [j for j in step.channels if step.compared(i, j) and step.weights[i][j] > 0]
    if estimator.dead_channels == "mask":
        channels = [j for j in channels if not step.dead(i, j)] or channels
    if estimator.standardise:
        z = {j: step.z(i, j, estimator.eps) for j in channels}
    else:
        z = {j: step.scores[i][j] for j in channels}
        z = {j: statistics.fmean(step.known(i, j)) if s is None else s for j, s in z.items()}
    total = sum(step.weights[i][j] for j in channels)
    p = {j: step.weights[i][j] / total for j in channels}
    mu = sum(p[j] * z[j] for j in channels)
    variance = sum(p[j] * (z[j] - mu) ** 2 for j in channels)

    residual = bound = None
    if isinstance(estimator, GDPO):
        value = sum(step.weights[i][j] * z[j] for j in channels)
        return Row(value=value, contribution=p, penalty=0.0, residual=None)
    if isinstance(estimator, MeanVariance):
        value = mu - estimator.beta * variance
        contribution = {j: p[j] * (1 - 2 * estimator.beta * (z[j] - mu)) for j in channels}
    else:
        k = math.inf if isinstance(estimator, HardMin) else estimator.k
        assert isinstance(k, float)
        value, contribution = soft_min(z, p, k)
        if k < math.inf:
            residual = abs(value - (mu - k / 2 * variance))
            heard = [z[j] for j in channels if p[j] > 0]
            bound = k**2 * (max(heard) - min(heard)) ** 3 / 62.353829072479584  # 36 sqrt(3)
    return Row(
        value=value,
        contribution=contribution,
        penalty=mu - value,
        residual=residual if isinstance(estimator, RVPO) else None,
        bound=bound if isinstance(estimator, RVPO) else None,
    )


def soft_min(z: dict[int, float], p: dict[int, float], k: float) -> tuple[float, dict[int, float]]:
    """The value, and how it moves with each z."""
    if k == 0:
        return sum(p[j] * z[j] for j in z), p
    if k == math.inf:
        terms = {j: p[j] if z[j] == min(z.values()) else 0.0 for j in z}
        value = min(z.values())
    else:
        terms = {j: p[j] * math.exp(-k * z[j]) for j in z}
        value = -math.log(sum(terms.values())) / k
    return value, {j: term / sum(terms.values()) for j, term in terms.items()}


def metrics(
    estimator: ZScore, step: Step, rows: dict[int, Row], advantages: dict[int, float]
) -> dict[str, float]:
    found = {"advantage/untrained_frac": 1 - len(rows) / len(step.scores), **dead_shares(step)}
    if isinstance(estimator, RVPO) and estimator.k != math.inf:
        assert isinstance(estimator.k, float)
        found["rvpo/k"] = estimator.k
    if not rows:
        return found
    if isinstance(estimator, GDPO):
        values = [row.value for row in rows.values()]
        found["frac_reward_zero_std"] = float(max(values) - min(values) < 1e-8)
    found |= moments("advantage", list(advantages.values()))
    found |= moments("advantage_raw", [row.value for row in rows.values()])
    found["advantage/variance_penalty"] = statistics.fmean(r.penalty for r in rows.values())
    residuals = [row.residual for row in rows.values() if row.residual is not None]
    if residuals:
        found["advantage/taylor_residual"] = statistics.fmean(residuals)
        bounds = [row.bound for row in rows.values() if row.bound is not None]
        found["advantage/taylor_bound"] = statistics.fmean(bounds)

    entropies = [
        -sum(w * math.log(w) for w in row.contribution.values() if w > 0)
        for row in rows.values()
        if min(row.contribution.values()) >= 0
    ]
    if entropies:
        found["advantage/weight_entropy"] = statistics.fmean(entropies)
    for j in step.channels:
        if any(weights[j] > 0 for weights in step.weights):
            shares = [row.contribution.get(j, 0.0) for row in rows.values()]
            found[f"advantage/weight/r{j}"] = statistics.fmean(shares)
            lows = [bottleneck(step, i, j, estimator.eps) for i in rows]
            found[f"advantage/bottleneck/r{j}"] = statistics.fmean(lows)
    return found


def bottleneck(step: Step, i: int, j: int, eps: float) -> float:
    """1 if channel j is row i's lowest, an equal part if it ties."""
    z = {channel: step.z(i, channel, eps) for channel in step.used(i)}
    holders = [channel for channel in z if z[channel] == min(z.values())]
    return 1 / len(holders) if j in holders else 0.0


def dead_shares(step: Step) -> dict[str, float]:
    found = {}
    for j in step.channels:
        compared = [group[0] for group in step.groups if step.compared(group[0], j)]
        if compared:
            dead = statistics.fmean(step.dead(i, j) for i in compared)
            found[f"rewards/r{j}/zero_std_frac"] = dead
    comparable = [group[0] for group in step.groups if any(step.used(i) for i in group)]
    if comparable:
        dead = statistics.fmean(step.dead_group(i) for i in comparable)
        found["advantage/dead_group_frac"] = dead
    return found


def moments(prefix: str, values: list[float]) -> dict[str, float]:
    found = {
        "mean": statistics.fmean(values),
        "abs_mean": statistics.fmean(abs(value) for value in values),
        "min": min(values),
        "max": max(values),
        "frac_zero": statistics.fmean(abs(value) < 1e-6 for value in values),
    }
    if len(values) > 1:
        found["std"] = statistics.stdev(values)
    return {f"{prefix}/{name}": value for name, value in found.items()}
