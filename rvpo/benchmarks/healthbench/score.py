"""The score of HealthBench (arXiv:2505.08775, section 3; openai/simple-evals).

Of one response: the points of the criteria it meets, over all points above 0. That may be below 0,
and is nothing where no criterion has points above 0, as among those of one axis. A score over many
is their mean, clipped to [0, 1] after averaging and never before.

A theme's score is the mean of whole responses that carry its tag. That of an axis, a level or a
cluster is the same formula over the criteria that carry the tag, for each response that has some.

With a length adjustment (openai/simple-evals, pull request 108), penalty * (length - 2000) / 500 is
taken from the score of each response first, with its length in characters: a response that is
shorter gains. It is off there unless asked for.

What the judge failed to say is unknown. Such a criterion leaves both sums; how much is known is
reported beside each score, with the scores that the best and the worst verdicts would have given.
A score may lie outside of these, as responses of which too little is known leave the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rvpo.benchmarks.benchmark import Score
from rvpo.benchmarks.healthbench.records import Item, Record
from rvpo.benchmarks.statistics import clustered_draws, mean_interval
from rvpo.lazy import numpy as np

LENGTH_PENALTIES: Final[Mapping[str, float]] = {
    "full": 0.0299,
    "hard": 0.0392,
    "consensus": 0.0020,
    "professional": 0.0147,
}
"""Penalties that the reference takes for each set."""
_CENTER: Final = 2000
_PER: Final = 500

Verdict = bool | None
"""True where a criterion is met, False where it is not; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A response's verdicts, one for each item of its record."""

    record: Record
    met: tuple[Verdict, ...]
    length: int = _CENTER
    """Characters of the response."""


def response_score(items: Sequence[Item], met: Sequence[Verdict]) -> float | None:
    """Points of the items met over all points above 0, of the items that are known; None where no
    known item has points above 0."""
    known = [(item, is_met) for item, is_met in zip(items, met, strict=True) if is_met is not None]
    possible = sum(item.points for item, _ in known if item.points > 0)
    if possible <= 0:
        return None
    return sum(item.points for item, is_met in known if is_met) / possible


def scores(graded: Sequence[Graded], length_penalty: float = 0.0) -> dict[str, Score]:
    """Overall, by theme and other tags of conversations, and by axis and other tags of criteria.

    Args:
        length_penalty: one above 0 gives a second overall score, adjusted by length.
    """
    found = {"overall": _mean(graded)}
    if length_penalty:
        found["overall_length_adjusted"] = _mean(graded, length_penalty)
    themes = sorted({tag for each in graded for tag in each.record.tags})
    for tag in themes:
        own = [each for each in graded if tag in each.record.tags]
        found[_named(tag)] = _mean(own)
    for tag in sorted({tag for each in graded for item in each.record.items for tag in item.tags}):
        found[_named(tag)] = _mean(list(_within(graded, tag)))
    return found


def bootstrap_std(graded: Sequence[Graded]) -> float | None:
    """Standard deviation of the clipped mean over resampled responses, as the reference reports
    it (there with other random numbers)."""
    values = [value for value, _ in _scored(graded)]
    if not values:
        return None
    draws = clustered_draws([str(n) for n in range(len(values))])
    return float((draws @ np.array(values) / draws.sum(axis=1)).clip(0, 1).std())


def _mean(graded: Sequence[Graded], length_penalty: float = 0.0) -> Score:
    verdicts = [is_met for each in graded for is_met in each.met]
    known = sum(is_met is not None for is_met in verdicts)
    coverage = known / len(verdicts) if verdicts else 0.0
    worst, best = (
        _scored([_resolved(each, good) for each in graded], length_penalty)
        for good in (False, True)
    )
    possible = (_clipped_mean(worst), _clipped_mean(best)) if worst else None
    scored = _scored(graded, length_penalty)
    if not scored:
        return Score(value=None, count=0, coverage=coverage, possible=possible)
    values, clusters = zip(*scored, strict=True)
    return Score(
        value=_clipped_mean(scored),
        count=len(scored),
        interval=mean_interval(values, clusters, clip=True),
        coverage=coverage,
        possible=possible,
    )


def _scored(graded: Sequence[Graded], length_penalty: float = 0.0) -> list[tuple[float, str]]:
    """Score and conversation of each response that has a score."""
    return [
        (value - length_penalty * (each.length - _CENTER) / _PER, each.record.id)
        for each in graded
        if (value := response_score(each.record.items, each.met)) is not None
    ]


def _clipped_mean(scored: Sequence[tuple[float, str]]) -> float:
    return float(np.clip(np.mean([value for value, _ in scored]), 0, 1))


def _within(graded: Sequence[Graded], tag: str) -> Iterator[Graded]:
    """Each response with the items that carry the tag alone."""
    for each in graded:
        kept = [n for n, item in enumerate(each.record.items) if tag in item.tags]
        if kept:
            record = Record(
                id=each.record.id,
                messages=each.record.messages,
                items=tuple(each.record.items[n] for n in kept),
                tags=each.record.tags,
                canary=each.record.canary,
            )
            yield replace(each, record=record, met=tuple(each.met[n] for n in kept))


def _resolved(graded: Graded, good: bool) -> Graded:
    """The graded answer with the best or the worst in place of what is not known."""
    met = tuple(
        (item.points > 0) == good if is_met is None else is_met
        for item, is_met in zip(graded.record.items, graded.met, strict=True)
    )
    return replace(graded, met=met)


def _named(tag: str) -> str:
    """A tag as part of a metric's name: axis:accuracy becomes axis/accuracy."""
    return tag.replace(":", "/", 1)
