"""Intervals of scores whose responses come in clusters: the repeats of a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rvpo.lazy import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLES: Final = 1_000
"""Resamples of the bootstrap, as many as for HealthBench in simple-evals."""


def clustered_draws(clusters: Sequence[str]) -> npt.NDArray[np.float64]:
    """[B, N] counts of each item in each resample: whole clusters are drawn anew, always
    the same ones for the same clusters."""
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    chance = np.random.default_rng(0)
    drawn = chance.multinomial(len(names), [1 / len(names)] * len(names), size=RESAMPLES)
    counts: npt.NDArray[np.float64] = drawn[:, place].astype(np.float64)
    return counts


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], *, clip: bool = False
) -> tuple[float, float] | None:
    """95 % percentile interval of a mean; None for fewer than two clusters.

    Resamples of what is the same throughout say nothing. Where that is 0 or 1, of values that
    cannot lie beyond, the interval is that of Clopper and Pearson (1934) for the share of clusters
    that are otherwise, which no mean exceeds; else there is none.

    Args:
        values: [N].
        clusters: [N] the cluster of each value.
        clip: values may lie beyond 0 and 1; each resample's mean is clipped, as the score itself
            is.
    """
    if len(set(clusters)) < 2:
        return None
    if len(set(values)) == 1:
        return None if clip else _of_constant(values[0], len(set(clusters)))
    draws = clustered_draws(clusters)
    means = draws @ np.asarray(values, dtype=np.float64) / draws.sum(axis=1)
    means = means.clip(0, 1) if clip else means
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _of_constant(value: float, clusters: int) -> tuple[float, float] | None:
    if value not in (0, 1):
        return None
    from scipy.stats import binomtest  # takes a second, which reading results should not

    interval = binomtest(round(value * clusters), clusters).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)
