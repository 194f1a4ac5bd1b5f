"""Metrics of neglect: numbers of a held-out evaluation that tell when a reward was neglected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from rvpo.report.held_out import HeldOutScores
from rvpo.satisfied import MET_OR_NOT, least, may_be_verdicts

Floats = npt.NDArray[np.float64]
HIGH = 0.75
"""The mean of a response's scaled scores is high from this quantile on, of all responses."""
BETTER: Mapping[str, int] = {
    "worst reward": 1,
    "all satisfied": 1,
    "fails though high": -1,
    "best − worst": -1,
}
"""The metrics of neglect, and whether more (1) or less (-1) of each is better."""
OF_THRESHOLDS: Final = ("all satisfied", "fails though high")
"""Those that there are where it is known of every column what is good enough."""


@dataclass(frozen=True)
class Scale:
    """Scale that makes the rewards of all runs of a comparison comparable, one entry a column."""

    low: Floats
    """The lowest score of any response of any run."""
    high: Floats
    thresholds: Floats
    """Score from which on a reward counts as satisfied; NaN where nobody knows."""
    high_mean: float
    """Value from which on the mean of a response's scaled scores counts as high."""

    @property
    def enough(self) -> Floats:
        """The lowest scores that reach the thresholds."""
        return np.array([least(threshold) for threshold in self.thresholds.tolist()])

    @property
    def is_known(self) -> bool:
        """True where every column has a threshold."""
        return bool(np.isfinite(self.thresholds).all())

    @classmethod
    def of(
        cls, evaluations: Sequence[HeldOutScores], satisfied: Mapping[str, float] | None = None
    ) -> Scale:
        """The scale of all evaluations together.

        Args:
            satisfied: thresholds by column, NaN where nobody knows one. The others have that of
                verdicts, 1, where all scores are between 0 and 1, and else nobody knows.

        Raises:
            KeyError: a threshold is for a column that there is not.
        """
        columns = evaluations[0].columns
        values = np.concatenate([e.values.reshape(-1, len(columns)) for e in evaluations])
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
        pairs = zip(low.tolist(), high.tolist(), strict=True)
        thresholds = np.array([MET_OR_NOT.good if may_be_verdicts(*p) else math.nan for p in pairs])
        for name, threshold in (satisfied or {}).items():
            if name not in columns:
                raise KeyError(name)
            thresholds[columns.index(name)] = threshold
        scale = cls(low, high, thresholds, math.nan)
        means = np.nanmean(scale.scaled(values[np.isfinite(values).any(axis=1)]), axis=1)
        high_mean = float(np.quantile(means, HIGH)) if len(means) else math.nan
        return replace(scale, high_mean=high_mean)

    def scaled(self, values: Floats) -> Floats:
        """Scores [..., columns] from 0, the lowest of any run, to 1. A column that is the same
        throughout is 0 where that is known not to be satisfied, else 1."""
        width = self.high - self.low
        constant = (~(self.low < self.enough)).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled: Floats = np.where(width > 0, (values - self.low) / width, constant)
        return np.where(np.isfinite(values), scaled, np.nan)


def of_columns(columns: Sequence[str], of_rewards: Mapping[str, float]) -> dict[str, float]:
    """The thresholds of columns that are rewards or parts of them, such as `judged/polite`."""
    rewards = {column: column.partition("/")[0] for column in columns}
    return {column: of_rewards[name] for column, name in rewards.items() if name in of_rewards}


@dataclass(frozen=True)
class Counts:
    """A metric of one evaluation as ratios of sums over prompts, so that prompts can be drawn
    again: `numerator` and `denominator` are [P, C], and the metric is made of C ratios."""

    numerator: Floats
    denominator: Floats
    is_gap: bool = False
    """The largest ratio minus the smallest, instead of the only one."""

    @property
    def whole(self) -> float:
        """The metric with every prompt counted once."""
        return float(self.value(np.ones((1, len(self.numerator))))[0])

    def value(self, draws: Floats) -> Floats:
        """[B] the metric with each prompt counted as often as `draws` [B, P] says; NaN where
        nothing is left to divide by."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (draws @ self.numerator) / (draws @ self.denominator)
        if self.is_gap:
            # Of a column that no drawn prompt has nothing is known.
            gap: Floats = np.fmax.reduce(ratios, axis=1) - np.fmin.reduce(ratios, axis=1)
            return gap
        column: Floats = ratios[:, 0]
        return column


def counts(evaluation: HeldOutScores, scale: Scale) -> dict[str, Counts]:
    """Each reward's mean, and each metric of neglect.

    * `worst reward`: mean over responses of the lowest of their scaled scores.
    * `all satisfied`: share of responses with every reward at its threshold or above.
    * `fails though high`: of the responses whose mean is high, the share with a reward below its
      threshold.
    * `best − worst`: of the rewards' scaled means, the highest minus the lowest.

    Scaled scores are 0 at the lowest score of any run and 1 at the highest. A response's missing
    scores are left out. Where nobody knows a threshold, neither are the two metrics of them.
    """
    values = evaluation.values  # [P, S, M]
    scaled = scale.scaled(values)
    present = np.isfinite(values)
    scored: npt.NDArray[np.bool_] = np.any(present, axis=2)  # [P, S]
    failed = (present & (values < scale.enough)).any(axis=2)
    mean = np.nanmean(np.where(scored[..., None], scaled, 0.0), axis=2)
    is_high = scored & (mean >= scale.high_mean)
    worst = np.where(scored, np.nanmin(np.where(scored[..., None], scaled, 0.0), axis=2), 0.0)
    found = {
        name: _ratio(np.nan_to_num(evaluation.means[:, [j]]), np.isfinite(evaluation.means[:, [j]]))
        for j, name in enumerate(evaluation.reward_names)
    }
    found |= {
        "worst reward": _ratio(worst, scored),
        "all satisfied": _ratio(scored & ~failed, scored),
        "fails though high": _ratio(is_high & failed, is_high),
        "best − worst": Counts(
            np.where(present, scaled, 0.0).sum(axis=1), present.sum(axis=1).astype(float), True
        ),
    }
    unknown = () if scale.is_known else OF_THRESHOLDS
    return {name: each for name, each in found.items() if name not in unknown}


def _ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Counts:
    top, bottom = (np.asarray(x, dtype=np.float64) for x in (numerator, denominator))
    return Counts(top.sum(axis=1, keepdims=True), bottom.sum(axis=1, keepdims=True))
