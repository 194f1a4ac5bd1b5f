"""Numbers and columns that a reward function logs beside its scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from rvpo.errors import RewardError
from rvpo.report.metrics import entry_of
from rvpo.rewards.number import number_of, words_of

T = TypeVar("T")

_OF_A_RUN = "a metric of that name is the run's own; give another"


class Sum(NamedTuple):
    """Sum and number of the values of a metric."""

    total: float
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """Numbers and columns that reward functions logged in one step."""

    metrics: Mapping[str, Sum] = field(default_factory=dict)
    """Values by name. All functions that log one name make one metric of it, as in TRL."""
    extras: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    """[N] values, fit for JSON, by reward and column."""

    def without(self, rows: Sequence[int]) -> Logged:
        """The same beside samples that were not shown to the functions, which have None.

        Args:
            rows: their places among all samples.
        """
        extras = {
            reward: {
                column: interleaved(each, dict.fromkeys(rows)) for column, each in known.items()
            }
            for reward, known in self.extras.items()
        }
        return Logged(metrics=self.metrics, extras=extras)

    def __or__(self, other: Logged) -> Logged:
        return Logged(
            metrics=_added([self.metrics, other.metrics]), extras={**self.extras, **other.extras}
        )


class Logbook:
    """The arguments `log_extra` and `log_metric` of one call of a reward function.

    What is written is looked at after the call: a mistake in it must not end in the function's own
    `except`.

    Args:
        reward: name of the reward, for messages.
    """

    def __init__(self, reward: str) -> None:
        self._reward = reward
        self._columns: defaultdict[Any, list[Any]] = defaultdict(list)
        self._values: list[tuple[Any, Any]] = []

    def log_extra(self, column: str, values: Iterable[Any]) -> None:
        """Show values beside the samples, as TRL's argument of that name does.

        Args:
            values: one for each completion; they may also come in several calls.
        """
        is_listed = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
        self._columns[column].extend(values if is_listed else [values])

    def log_metric(self, name: str, value: float) -> None:
        """Log a number, as TRL's argument of that name does: its mean over all calls of a step."""
        self._values.append((name, value))

    def logged(self, count: int, shown: Callable[[str], str]) -> Logged:
        """Everything that was written, looked at.

        Args:
            count: N, completions of the call.
            shown: takes secrets out of a text.

        Raises:
            RewardError: a name or a value cannot be logged.
        """
        metrics: dict[str, Sum] = {}
        for name, value in self._values:
            if (number := self._number(name, value)) is not None:
                metrics = _added([metrics, {name: Sum(number, 1)}])
        extras = {}
        for column, values in self._columns.items():
            if not isinstance(column, str) or len(values) != count:
                raise RewardError(
                    f"reward '{self._reward}' logged {len(values)} values in the extra column "
                    f"{words_of(column)} for {count} completions; name a column by a text, and log "
                    "one value for each"
                )
            extras[column] = [plain(value, shown) for value in values]
        return Logged(metrics=metrics, extras={self._reward: extras} if extras else {})

    def _number(self, name: Any, value: Any) -> float | None:
        """A value of a metric; None where it is NaN or infinite, which no mean can hold."""
        where = f"reward '{self._reward}' logged the metric {words_of(name)}"
        if not isinstance(name, str) or not name.strip():
            raise RewardError(f"{where}; its name must be a text")
        if entry_of(name) is not None:
            raise RewardError(f"{where}, and {_OF_A_RUN}")
        try:
            number = number_of(value)
        except Exception as error:  # a value is code of others, and raises anything
            raise RewardError(f"{where} with a value that is not to be read ({error})") from error
        if number is None:
            raise RewardError(f"{where} with a value of type {type(value).__name__}; log a number")
        return number if math.isfinite(number) else None


def interleaved(values: Sequence[T], others: Mapping[int, T]) -> list[T]:
    """Values in their order, with others at their places in the whole."""
    rest = iter(values)
    places = range(len(values) + len(others))
    return [others[place] if place in others else next(rest) for place in places]


def means(parts: Iterable[Mapping[str, Sum]]) -> dict[str, float]:
    """The metrics of all ranks, each a mean over all values."""
    return {name: each.total / each.values for name, each in _added(parts).items()}


def _added(parts: Iterable[Mapping[str, Sum]]) -> dict[str, Sum]:
    found: dict[str, Sum] = {}
    for part in parts:
        for name, each in part.items():
            before = found.get(name, Sum(0.0, 0))
            found[name] = Sum(before.total + each.total, before.values + each.values)
    return found


def plain(value: Any, shown: Callable[[str], str]) -> Any:
    """A value as JSON has it: numbers, texts, lists and tables as they are, what else there is by
    its words.

    Args:
        shown: takes secrets out of a text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, shown) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, shown) for item in value]
    try:
        number = number_of(value)
        if number is None and callable(getattr(value, "tolist", None)):
            return plain(value.tolist(), shown)
    except Exception:  # a value is code of others, which is only asked for what it holds
        number = None
    if number is None:
        return shown(words_of(value))
    return number if math.isfinite(number) else str(number)
