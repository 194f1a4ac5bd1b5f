"""Cohen's kappa: agreement of two judges beyond what chance would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rvpo.benchmarks.statistics import clustered_draws

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """Agreement of two judges on the verdicts that both gave.

        kappa = (p - c) / (1 - c)

    with p the share of equal verdicts and c the share that is to be expected of two judges with
    these frequencies who know nothing of the responses (Cohen 1960, Educational and Psychological
    Measurement 20:37). Grades between 0 and 1 are weighed by the square of their distance (Cohen
    1968, Psychological Bulletin 70:213), which for met and not met is the same number.
    """

    value: float | None
    """1 for equal verdicts, 0 for no more than chance; None where chance alone makes all verdicts
    equal: both judges gave one and the same throughout."""
    interval: tuple[float, float] | None
    """95 % percentile bootstrap over prompts, from the resamples that have a kappa; None for fewer
    than two prompts."""

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float], prompts: Sequence[str]) -> Kappa:
        """
        Args:
            first: [N] one judge's verdicts, in [0, 1].
            second: [N] the other's on the same.
            prompts: [N] prompt of each: verdicts on one prompt are drawn together.
        """
        names, place = np.unique(np.asarray(prompts, dtype=object).astype(str), return_inverse=True)
        x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
        terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)  # [N, 6]
        sums = np.zeros((len(names), terms.shape[1]))
        np.add.at(sums, place, terms)  # [prompts, 6]
        value = float(_kappas(sums.sum(axis=0, keepdims=True))[0]) if len(x) else np.nan
        return cls(
            value=None if np.isnan(value) else value,
            interval=None if np.isnan(value) or len(names) < 2 else _interval(len(names), sums),
        )


def _interval(prompts: int, sums: FloatArray) -> tuple[float, float] | None:
    drawn = _kappas(clustered_draws([f"{n:09}" for n in range(prompts)]) @ sums)
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _kappas(sums: FloatArray) -> FloatArray:
    """[B] kappas of [B, 6] sums over verdicts: of 1, x, y, x², y² and xy; NaN where there is none.

    With weights (x - y)², one less the mean of them over the pairs, by their mean over all pairs of
    any x with any y: var x + var y + (mean x - mean y)².
    """
    count, x, y, xx, yy, xy = sums.T
    apart = xx + yy - 2 * xy
    by_chance = xx + yy - 2 * x * y / count
    found = np.full(len(sums), np.nan)
    # Of verdicts that are all equal a rounding error is left.
    differ = by_chance > 1e-9 * count
    np.divide(apart, by_chance, out=found, where=differ)
    return 1 - found
