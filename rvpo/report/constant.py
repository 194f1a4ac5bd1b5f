"""Rewards that cannot teach anything, because every answer to a prompt gets the same score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from rvpo.report.record import StepRecord

PATIENCE = 3
"""Steps without any difference before a reward is named."""


class ConstantRewards:
    """A report that names, once, each reward with a single value in every group from the first
    step it sees on.

    Args:
        say: told the reward's name.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._steps = 0
        self._values: dict[str, set[float]] = {}
        self._watched: set[str] | None = None
        self._reasons: dict[str, Counter[str]] = {}

    def __call__(self, record: StepRecord) -> None:
        """See `Report`."""
        rewards, aspects = record.scored.rewards, record.scored.aspects
        if self._watched is None:
            self._watched = set(aspects)
        self._steps += 1
        shape = (-1, rewards.group_size, len(rewards.names))  # [P, G, M]
        for name in sorted(self._watched & set(aspects)):
            mask = (aspects[name] & rewards.valid).reshape(shape)
            failures = record.scored.failures.items()
            lost = (reason for place, reason in failures if bool(aspects[name][place]))
            self._reasons.setdefault(name, Counter()).update(lost)
            values = rewards.values.reshape(shape)
            low = values.where(mask, float("inf")).amin(dim=1)
            high = values.where(mask, float("-inf")).amax(dim=1)
            if bool((high > low).any()):
                self._watched.discard(name)
                continue
            self._values.setdefault(name, set()).update(values[mask].tolist())
        if self._steps == PATIENCE:
            for name in sorted(self._watched):
                self._name(name)

    def close(self) -> None:
        """See `Report`."""

    def _name(self, name: str) -> None:
        values, reasons = self._values.get(name, set()), self._reasons.get(name)
        if not values and reasons:
            (reason, _), *_ = reasons.most_common(1)
            self._say(
                f"reward '{name}' has no score in {PATIENCE} steps, so nothing is learned from it: "
                f"all are missing, most often for {reason}"
            )
            return
        if not values:
            found = f"has scored nothing in {PATIENCE} steps"
        elif len(values) == 1:
            found = f"has scored every answer {next(iter(values)):g} for {PATIENCE} steps"
        else:
            found = f"has not told any two answers to a prompt apart for {PATIENCE} steps"
        self._say(
            f"reward '{name}' {found}, so nothing is learned from it; likely reasons: it reads "
            "text where it is given messages (completion[0]['content']) or the other way round, "
            "it misses a column or a form that no answer has yet, or it is always or never met"
        )
