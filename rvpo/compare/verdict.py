"""The verdict on a comparison's held-out scores: differences, intervals, a test."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from rvpo.compare.neglect import BETTER, Counts, Scale, counts
from rvpo.report.held_out import HeldOutScores

Floats = npt.NDArray[np.float64]
Stage = Literal["final", "peak"]

RESAMPLES: Final = 2_000
TEST: Final = "paired t-test over seeds, two-sided, Holm-corrected over all rows that have one"
INTERVAL: Final = (
    f"95 % percentile bootstrap over seeds and prompts, {RESAMPLES:,} resamples, the part of the n "
    "seeds widened by sqrt(n / (n - 1)) t / 1.96"
)
"""Resampled seeds spread less than seeds do, and few of them say little of how much: as percentiles
stand, 95 % of 5 seeds cover 83 % (Hesterberg 2015, arXiv:1411.5279)."""
ROUNDING: Final = 1e-9
"""Differences of seeds that spread less than this are the same."""
ALL_PAIRS: Final = 4
"""Up to so many arms each is compared with each; more are compared with the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """Two arms by one metric at one stage, the second minus the first."""

    stage: Stage
    metric: str
    first: str
    second: str
    first_mean: float | None
    """Mean over the seeds; None where a seed has no value, and so for the rest."""
    second_mean: float | None
    difference: float | None
    interval: tuple[float, float] | None
    effect_size: float | None
    """Cohen's d_z: the mean of the seeds' differences over their standard deviation. None for
    fewer than two seeds, or where all differ by the same."""
    p_value: float | None
    """p-value, not corrected; None for fewer than two seeds, or where all differ by the same."""
    p_holm: float | None
    """Holm's p-value; None where `p_value` is, and for metrics that are not primary."""


ScoresByArm = Mapping[str, Sequence[Mapping[int, HeldOutScores]]]
"""Held-out scores by arm, then by seed and step; only steps that have some."""
CountsByArm = Mapping[str, Sequence[Mapping[int, Mapping[str, Counts]]]]
"""Counts by arm, seed, step and metric."""


def verdict(
    evaluations: ScoresByArm,
    satisfied: Mapping[str, float] | None = None,
    primary: Collection[str] = (),
    benchmarks: CountsByArm | None = None,
) -> tuple[list[MetricRow], Scale]:
    """Compare the arms by every reward and metric of neglect, at the end and at the peak.

    A run's value at the peak is its best over the steps, metric by metric; step 0 does not count.
    The step is chosen once, not in each resample, so a peak's interval leaves that choice out.

    Args:
        evaluations: those of all arms, with the same prompts in the same order.
        satisfied: see `Scale.of`.
        primary: the metrics to test, all if none is named.
        benchmarks: further metrics, of the same arms, seeds and steps.

    Raises:
        ValueError: the runs were scored on different prompts or rewards.
        KeyError: see `Scale.of`.
    """
    every = [e for arm in evaluations.values() for run in arm for e in run.values()]
    if len({(e.prompt_ids, e.columns, e.reward_names) for e in every}) > 1:
        raise ValueError("the runs were scored on different prompts, or by different rewards")
    scale = Scale.of(every, satisfied)
    counted = {
        arm: [{step: counts(e, scale) for step, e in run.items() if step} for run in runs]
        for arm, runs in evaluations.items()
    }
    for arm, runs in (benchmarks or {}).items():
        for known, further in zip(counted[arm], runs, strict=True):
            for step in known:
                known[step] |= further.get(step, {})
    draws = _Draws(min(map(len, evaluations.values())))
    stages: tuple[Stage, ...] = ("final", "peak")
    metrics = list(next(iter(counted[next(iter(counted))][0].values())))
    rows = [
        _compare(stage, metric, pair, counted, draws)
        for stage in stages
        for metric in metrics
        for pair in _pairs(list(evaluations))
    ]
    return _corrected(rows, primary or metrics), scale


class _Draws:
    """Seeds and prompts of each resample of the bootstrap, the same for all arms and for all
    metrics over as many prompts, and always the same ones."""

    def __init__(self, seeds: int) -> None:
        self.seeds: npt.NDArray[np.int64] = np.random.default_rng(0).integers(
            seeds, size=(RESAMPLES, seeds)
        )  # [B, S]
        self._prompts: dict[int, Floats] = {}

    def prompts(self, count: int) -> Floats:
        """[B, P] draws of each of so many prompts."""
        if count not in self._prompts:
            drawn = np.random.default_rng(1).multinomial(count, [1 / count] * count, RESAMPLES)
            self._prompts[count] = drawn.astype(np.float64)
        return self._prompts[count]


def _chosen(stage: Stage, metric: str, run: Mapping[int, Mapping[str, Counts]]) -> Counts:
    """The metric of a run at its last step, or at the step where it is best."""
    measured = {step: found for step, found in run.items() if metric in found}
    if stage == "final":
        return measured[max(measured)][metric]
    sign = BETTER.get(metric, 1)
    values = {step: sign * found[metric].whole for step, found in measured.items()}
    known = {step: value for step, value in values.items() if not math.isnan(value)}
    best = max(known, key=known.__getitem__) if known else max(measured)
    return measured[best][metric]


def _compare(
    stage: Stage, metric: str, pair: tuple[str, str], counted: CountsByArm, draws: _Draws
) -> MetricRow:
    seeds = draws.seeds.shape[1]
    chosen = [[_chosen(stage, metric, run) for run in counted[arm][:seeds]] for arm in pair]
    first, second = (np.array([each.whole for each in runs]) for runs in chosen)
    names = {"stage": stage, "metric": metric, "first": pair[0], "second": pair[1]}
    if not np.isfinite(first + second).all():
        return MetricRow(**names, **dict.fromkeys(_NUMBERS))  # type: ignore[arg-type]
    differences = second - first
    mean = float(differences.mean())
    drawn = [
        np.stack([each.value(draws.prompts(len(each.numerator))) for each in runs])
        for runs in chosen
    ]  # [S, B]
    of_prompts = (drawn[1] - drawn[0]).mean(axis=0) - mean
    of_seeds = differences[draws.seeds].mean(axis=1) - mean
    resampled = mean + of_prompts + _widening(seeds) * of_seeds  # [B]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    spread = float(differences.std(ddof=1)) if seeds > 1 else 0.0
    if spread < ROUNDING * max(1.0, abs(mean)):
        spread = 0.0
    return MetricRow(
        **names,  # type: ignore[arg-type]
        first_mean=float(first.mean()),
        second_mean=float(second.mean()),
        difference=mean,
        interval=(float(low), float(high)),
        effect_size=mean / spread if spread else None,
        p_value=_p_value(differences) if spread else None,
        p_holm=None,
    )


_NUMBERS = (
    *("first_mean", "second_mean", "difference", "interval"),
    *("effect_size", "p_value", "p_holm"),
)


def _p_value(differences: Floats) -> float:
    from scipy import stats  # takes a second, and most commands compare nothing

    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _widening(seeds: int) -> float:
    """Factor for a resample's distance from the mean of the seeds."""
    if seeds < 2:
        return 1.0
    from scipy import stats

    factor: float = math.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1)
    return factor / float(stats.norm.ppf(0.975))


def _pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    if len(arms) <= ALL_PAIRS:
        return list(combinations(arms, 2))
    return [(arms[0], arm) for arm in arms[1:]]


def _corrected(rows: Sequence[MetricRow], metrics: Collection[str]) -> list[MetricRow]:
    """The rows with Holm's p-values of these metrics: 1979, sequentially rejective."""
    tested = sorted(
        (row.p_value, place)
        for place, row in enumerate(rows)
        if row.p_value is not None and row.metric in metrics
    )
    corrected: dict[int, float] = {}
    running = 0.0
    for rank, (p, place) in enumerate(tested):
        running = max(running, min(1.0, p * (len(tested) - rank)))
        corrected[place] = running
    return [replace(row, p_holm=corrected.get(place)) for place, row in enumerate(rows)]


def verdict_json(rows: Sequence[MetricRow], scale: Scale, columns: Sequence[str]) -> dict[str, Any]:
    """Content of `verdict.json`."""
    known = (t if math.isfinite(t) else None for t in scale.thresholds.tolist())
    return {
        "test": TEST,
        "interval": INTERVAL,
        "thresholds": dict(zip(columns, known, strict=True)),
        "high_mean": scale.high_mean,
        "rows": [asdict(row) for row in rows],
    }
