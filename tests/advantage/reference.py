"""The flow and the diagnostics of every estimator, once more, a number at a time.

Plain Python floats and loops, written from the formulas: what the package's tensors must equal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rvpo.advantage import GDPO, GRPO, RVPO, HardMin, LevelMin, MeanVariance, RawRVPO
from rvpo.satisfied import Satisfied

Whitened = GDPO | RVPO | MeanVariance | HardMin | RawRVPO | LevelMin
OF_SCORES = (RawRVPO, LevelMin)
SOFT = (RVPO, *OF_SCORES)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A reward matrix; None is a missing score."""

    scores: Sequence[Sequence[float | None]]  # [N][M]
    weights: Sequence[Sequence[float]]  # [N][M]
    group_size: int
    satisfied: Sequence[Satisfied | None] = ()  # [M], or nothing declared

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

    def comparable(self, i: int, j: int) -> bool:
        return len(self.known(i, j)) >= 2

    def constant(self, i: int, j: int) -> bool:
        return self.comparable(i, j) and len(set(self.known(i, j))) == 1

    def z(self, i: int, j: int, eps: float, by_std: bool = True) -> float:
        score, known = self.scores[i][j], self.known(i, j)
        if score is None or not self.comparable(i, j) or self.constant(i, j):
            return 0.0
        mean = sum(known) / len(known)
        variance = sum((other - mean) ** 2 for other in known) / (len(known) - 1)
        return (score - mean) / (math.sqrt(variance) + eps if by_std else 1.0)

    def asked(self, i: int) -> list[int]:
        """The channels that row i would be weighed and compared by, had it their scores."""
        return [j for j in self.channels if self.comparable(i, j) and self.weights[i][j] > 0]

    def usable(self, i: int) -> list[int]:
        return [j for j in self.asked(i) if self.scores[i][j] is not None]

    def weighted(self, i: int) -> list[int]:
        """The channels that row i has a score of and weighs."""
        has = [j for j in self.channels if self.scores[i][j] is not None]
        return [j for j in has if self.weights[i][j] > 0]

    def lacks(self, i: int) -> bool:
        """Row i misses a score that it would be weighed by and that its siblings have."""
        return self.usable(i) != self.asked(i)

    def dead_group(self, i: int) -> bool:
        """Nothing that any row of i's group is weighed by tells its rows apart."""
        return all(self.constant(row, j) for row in self.siblings(i) for j in self.usable(row))

    def with_zeros(self) -> Step:
        """0 for each score that a row lacks and some sibling has, if it weighs any of its own."""
        scores = [
            [
                0.0 if score is None and self.known(i, j) and self.weighted(i) else score
                for j, score in enumerate(row)
            ]
            for i, row in enumerate(self.scores)
        ]
        return replace(self, scores=scores)

    def at_levels(self) -> Step:
        """Half of the way from bad to good, and the other half at good alone."""

        def level(score: float, declared: Satisfied | None) -> float:
            bad, good = (declared.bad, declared.good) if declared else (0.0, 1.0)
            if score >= good:
                return 1.0
            return max(0.0, (score - bad) / (good - bad)) / 2

        declared = self.satisfied or [None] * len(self.channels)
        scores = [
            [None if s is None else level(s, d) for s, d in zip(row, declared, strict=True)]
            for row in self.scores
        ]
        return replace(self, scores=scores, satisfied=())


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


def run(estimator: Whitened | GRPO, step: Step) -> Expected:
    """All that the estimator owes for the step."""
    given = step
    if estimator.inputs == "level":
        step = step.at_levels()
    if isinstance(estimator, GRPO):
        return run_grpo(estimator, step, given)
    if estimator.missing == "zero":
        step = step.with_zeros()
    rows = {i: aggregate(estimator, step, i) for i in trained_rows(estimator, step)}
    advantages = {i: row.value for i, row in rows.items()}
    by_std = estimator.scale == "group"
    if isinstance(estimator, OF_SCORES):
        advantages = compared(advantages, step, estimator.eps, by_std)
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
        z=[[step.z(i, j, estimator.eps, by_std) for j in step.channels] for i in indices],
        metrics=metrics(estimator, step, rows, advantages) | pulls(given, advantages),
    )


def run_grpo(estimator: GRPO, step: Step, given: Step) -> Expected:
    """Each row's sum, taken term by term; scores and spreads as they were before the rule."""
    read = step.with_zeros() if estimator.missing == "zero" else step
    sums: dict[int, float] = {}
    for i in range(len(step.scores)):
        if not read.usable(i) or (estimator.missing == "skip_sample" and step.lacks(i)):
            continue
        sums[i] = 0.0
        for j in read.asked(i):
            score = read.scores[i][j]
            if score is None and estimator.missing == "group_mean":
                score = statistics.fmean(step.known(i, j))
            sums[i] += step.weights[i][j] * (score or 0.0)
    totals = Step(
        scores=[[sums.get(i)] for i in range(len(step.scores))],
        weights=[[1.0]] * len(step.scores),
        group_size=step.group_size,
    )
    trained = [i for i in sums if totals.comparable(i, 0)]
    advantages = {i: totals.z(i, 0, estimator.eps) for i in trained}
    if estimator.scale != "group":
        known = [totals.known(i, 0) for i in trained]
        centred = {
            i: 0.0 if totals.constant(i, 0) else sums[i] - statistics.fmean(known)
            for i, known in zip(trained, known, strict=True)
        }
        spread = statistics.stdev([sums[i] for i in trained]) if len(trained) > 1 else 0.0
        scale = 1.0 if estimator.scale == "none" else spread + estimator.eps
        advantages = {i: value / scale for i, value in centred.items()}
    rows = {}
    for i in trained:
        moved = {
            j: step.weights[i][j] * (spread_of(step, i, j) + estimator.eps)
            for j in step.weighted(i)
            if j in read.asked(i)
        }
        contribution = {j: each / sum(moved.values()) for j, each in moved.items()}
        rows[i] = Row(value=advantages[i], contribution=contribution, penalty=0.0, residual=None)
    indices = range(len(step.scores))
    return Expected(
        values=[advantages.get(i, 0.0) for i in indices],
        trained=[i in rows for i in indices],
        z=[[step.z(i, j, estimator.eps) for j in step.channels] for i in indices],
        metrics=metrics(estimator, step, rows, advantages) | pulls(given, advantages),
    )


def spread_of(step: Step, i: int, j: int) -> float:
    comparable = step.comparable(i, j) and not step.constant(i, j)
    return statistics.stdev(step.known(i, j)) if comparable else 0.0


def trained_rows(estimator: Whitened, step: Step) -> list[int]:
    trained = []
    for i in range(len(step.scores)):
        refused = estimator.missing == "skip_sample" and step.lacks(i)
        masked = estimator.dead_groups == "mask" and step.dead_group(i)
        if step.usable(i) and not refused and not masked:
            trained.append(i)
    return trained


def whitened(values: dict[int, float], eps: float) -> dict[int, float]:
    if len(set(values.values())) < 2:
        return dict.fromkeys(values, 0.0)
    mean, std = statistics.fmean(values.values()), statistics.stdev(values.values())
    return {i: (value - mean) / (std + eps) for i, value in values.items()}


def compared(
    values: dict[int, float], step: Step, eps: float, by_std: bool = True
) -> dict[int, float]:
    """Each value as a z-score in its group, or as its distance from the group's mean."""
    scores = [[values.get(i)] for i in range(len(step.scores))]
    totals = Step(scores=scores, weights=[[1.0]] * len(scores), group_size=step.group_size)
    return {i: totals.z(i, 0, eps, by_std) for i in values}


def aggregate(estimator: Whitened, step: Step, i: int) -> Row:
    channels = step.asked(i) if estimator.missing == "group_mean" else step.usable(i)
    if estimator.dead_channels == "mask":
        channels = [j for j in channels if not step.constant(i, j)] or channels
    if isinstance(estimator, OF_SCORES):
        own = {j: step.scores[i][j] for j in channels}
        z = {j: statistics.fmean(step.known(i, j)) if s is None else s for j, s in own.items()}
    else:
        z = {j: step.z(i, j, estimator.eps, estimator.scale == "group") for j in channels}
    weights = {j: step.weights[i][j] for j in channels}
    if isinstance(estimator, LevelMin):
        weights = {
            j: w / (statistics.fmean(step.known(i, j)) + 1 / len(channels)) ** estimator.rarity
            for j, w in weights.items()
        }
    p = {j: weights[j] / sum(weights.values()) for j in channels}
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
            bound = (
                k**2 * (max(z.values()) - min(z.values())) ** 3 / 62.353829072479584
            )  # 36 sqrt(3)
    return Row(
        value=value,
        contribution=contribution,
        penalty=mu - value,
        residual=residual if isinstance(estimator, SOFT) else None,
        bound=bound if isinstance(estimator, SOFT) else None,
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
    estimator: Whitened | GRPO, step: Step, rows: dict[int, Row], advantages: dict[int, float]
) -> dict[str, float]:
    found = {"advantage/untrained_frac": 1 - len(rows) / len(step.scores), **dead_shares(step)}
    if isinstance(estimator, SOFT) and estimator.k != math.inf:
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
            by_std = isinstance(estimator, GRPO) or estimator.scale == "group"
            lows = [bottleneck(step, i, j, estimator.eps, by_std) for i in rows if step.usable(i)]
            if lows:
                found[f"advantage/bottleneck/r{j}"] = statistics.fmean(lows)
    return found


def pulls(step: Step, advantages: dict[int, float]) -> dict[str, float]:
    """Each reward's share of what the advantages move."""
    pull: dict[int, float] = {}
    for j in step.channels:
        pairs: list[tuple[float, float]] = []  # deviations of score and advantage
        for group in step.groups:
            told = [i for i in group if i in advantages and j in step.weighted(i)]
            known = [score for i in told if (score := step.scores[i][j]) is not None]
            if not told or len(set(known)) == 1:
                pairs += [(0.0, 0.0)] * len(told)
                continue
            own = [advantages[i] for i in told]
            r, a = statistics.fmean(known), statistics.fmean(own)
            pairs += [(x - r, y - a) for x, y in zip(known, own, strict=True)]
        spread = math.sqrt(sum(d * d for d, _ in pairs) / len(pairs)) if pairs else 0.0
        pull[j] = sum(a * d for d, a in pairs) / spread if spread else 0.0
    total = sum(map(abs, pull.values()))
    if total <= 1e-12 * max(1.0, *map(abs, advantages.values()), 0.0):
        return {}
    weighed = {j for i in range(len(step.scores)) for j in step.weighted(i)}
    return {f"advantage/pull/r{j}": pull[j] / total for j in weighed}


def bottleneck(step: Step, i: int, j: int, eps: float, by_std: bool) -> float:
    """1 if channel j is row i's lowest, an equal part if it ties."""
    z = {channel: step.z(i, channel, eps, by_std) for channel in step.usable(i)}
    holders = [channel for channel in z if z[channel] == min(z.values())]
    return 1 / len(holders) if j in holders else 0.0


def dead_shares(step: Step) -> dict[str, float]:
    found = {}
    for j in step.channels:
        having = [group[0] for group in step.groups if step.comparable(group[0], j)]
        if having:
            constant = statistics.fmean(step.constant(i, j) for i in having)
            found[f"rewards/r{j}/zero_std_frac"] = constant
    comparable = [group[0] for group in step.groups if any(step.usable(i) for i in group)]
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
