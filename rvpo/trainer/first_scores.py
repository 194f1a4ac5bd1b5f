"""The first scores of a classifier's endpoints, held against what a run takes them for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from rvpo.judge.scores import Scores

OTHER_RESPONSES: Final = ("5", "No.", "I hate this question, and you.", "Four, since 2 + 2 = 4.")
"""Asked about where one answer alone does not show whether scores are logits."""

_CLOSE: Final = 0.02  # servers compute in bf16, and round
_FAR: Final = 0.1  # no rounding goes so far


def are_logits(logits: Scores, probabilities: Scores) -> bool | None:
    """True where the first are the logits of the second: these are their softmax or sigmoid, or the
    same, as a classifier without either gives them. None where it does not show, for both are the
    same and may be probabilities.

    Args:
        logits, probabilities: scores of one input without and with softmax or sigmoid.
    """
    values, given = logits.values, probabilities.values
    if len(values) != len(given):
        return False
    if _are_close(values, given):
        return None if all(0 <= value <= 1 for value in values) else True
    return _are_close(_softmax(values), given) or _are_close(_sigmoids(values), given)


def apart(scores: Mapping[str, Scores]) -> Iterator[str]:
    """Reasons that scores of one input are those of several classifiers.

    Args:
        scores: those of each endpoint, by its address.
    """
    for (one, first), (other, second) in combinations(scores.items(), 2):
        both = f"{one} and {other}"
        if len(first.values) != len(second.values):
            yield f"{both} give {len(first.values)} and {len(second.values)} scores"
        elif (
            first.label
            and second.label
            and (first.best == second.best) != (first.label == second.label)
        ):
            yield (
                f"{both} call the labels {first.best} and {second.best} {first.label!r} and "
                f"{second.label!r}"
            )


def differing(scores: Mapping[str, Scores]) -> str:
    """The two addresses whose scores of one input differ by more than rounding; empty where none
    do."""
    for (one, first), (other, second) in combinations(scores.items(), 2):
        if not _are_close(first.values, second.values, _FAR):
            return f"{one} and {other}"
    return ""


def _are_close(values: Sequence[float], others: Sequence[float], tolerance: float = _CLOSE) -> bool:
    """True where all are the same, but for a tolerance that is relative above 1."""
    pairs = zip(values, others, strict=True)
    return all(abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)) for a, b in pairs)


def _softmax(values: Sequence[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / math.fsum(powers) for power in powers]


def _sigmoids(values: Sequence[float]) -> list[float]:
    return [0.5 * (1 + math.tanh(value / 2)) for value in values]
