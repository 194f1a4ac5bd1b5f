"""A sentence for runs in which what is lowest, which a soft minimum follows, is often noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Final

from rvpo.agreement import NOISY
from rvpo.report.record import StepRecord

SHARE: Final = "advantage/noisy_bottleneck"
"""The metric that tells of noise."""
PATIENCE: Final = 10
"""Steps over which the share of noise is looked at before a run is told of it."""
MUCH: Final = 0.1
"""Share of samples from which noise is worth a sentence."""


def noise(history: Sequence[Mapping[str, float]], weighs: bool) -> str:
    """The sentence about these steps; empty where there is little noise, or none is known.

    Args:
        history: metrics of each step.
        weighs: the estimator shrinks noisy scores.
    """
    shares = [row[SHARE] for row in history if SHARE in row]
    if not shares or (share := fmean(shares)) < MUCH:
        return ""
    found = [(part, *_estimate(history[-1], part)) for part in parts(history[-1:])]
    noisy = [f"{p} {x:.2f}, {low:.2f} to {high:.2f}" for p, x, low, high in found if x < NOISY]
    named = f" ({'; '.join(noisy)})" if noisy else ""
    remedy = (
        "its scores are shrunk by that"
        if weighs
        else "advantage.weight_by_reliability: true shrinks such scores"
    )
    return (
        f"in {_steps(len(history))} {share:.0%} of the samples were lowest, beside siblings, "
        f"in a reward of reliability below a half{named}; where the lowest decides, as in a soft "
        f"minimum, the policy follows the judge's noise there; {remedy}"
    )


def parts(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Criteria and classes whose reliability is known, and rewards that have neither."""
    keys = dict.fromkeys(key for row in history for key in row)
    found = [
        key.removeprefix("judge/").removesuffix("/reliability")
        for key in keys
        if key.startswith("judge/") and key.endswith("/reliability")
    ]
    return [part for part in found if not any(other.startswith(f"{part}/") for other in found)]


def metric(part: str, end: str = "") -> str:
    """The name of a part's reliability, or of an end of its interval, `low` or `high`."""
    return f"judge/{part}/reliability" + (f"_{end}" if end else "")


class NoisyRewards:
    """A report that says once that the soft minimum follows noise.

    Args:
        say: told the sentence.
        weighs: the estimator shrinks noisy scores; then there is nothing to say.
    """

    def __init__(self, say: Callable[[str], None], weighs: bool) -> None:
        self._say = say
        self._history: list[Mapping[str, float]] = []
        self._is_done = weighs

    def __call__(self, record: StepRecord) -> None:
        """See `Report`."""
        if self._is_done or SHARE not in record.metrics:
            return
        self._history = [*self._history[1 - PATIENCE :], record.metrics]
        if len(self._history) == PATIENCE and (said := noise(self._history, weighs=False)):
            self._say(said)
            self._is_done = True

    def close(self) -> None:
        """See `Report`."""


def _estimate(row: Mapping[str, float], part: str) -> tuple[float, float, float]:
    value = row[metric(part)]
    return value, row.get(metric(part, "low"), value), row.get(metric(part, "high"), value)


def _steps(count: int) -> str:
    return f"the last {count} steps" if count > 1 else "the last step"
