"""The criteria of a rubric from its entries: each sign told, and what is unclear counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.errors import DataError
from rvpo.rubrics.doubt import Doubt, UnclearSign
from rvpo.rubrics.item import RubricItem, read_item
from rvpo.rubrics.overlap import normalized
from rvpo.rubrics.praise import is_failure, is_praise
from rvpo.rubrics.sign import SignSource, sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Meaning of the sizes of a data set's criteria."""

    signed: bool = True
    """True where meeting a criterion of negative size loses points. Where it is False, negative
    sizes mark pitfalls, which may be worded as the failure or as its avoidance."""
    sized: bool = False
    """True where a criterion without a size cannot be used."""
    full: float | None = None
    """Largest size. Classes are its parts: from 7 tenths on essential, from 4 important, below
    optional. None where sizes tell no class."""
    repeats: bool = False
    """True where a criterion that its rubric already has counts again."""

    def class_of(self, size: float | None, polarity: Polarity) -> CriterionClass:
        """The class of a criterion that names none."""
        if polarity == "negative" or (size is not None and size < 0):
            return "pitfall"
        if size is None or self.full is None:
            return "important"
        tenths = 10 * size / self.full
        return "essential" if tenths >= 7 else "important" if tenths >= 4 else "optional"


@dataclass
class RubricCounts:
    """RubricCounts for a report, while rows are read."""

    dropped_rows: Counter[str] = field(default_factory=Counter)
    dropped_criteria: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    told_by: Counter[str] = field(default_factory=Counter)
    demands: int = 0
    failures: int = 0
    unclear: list[UnclearSign] = field(default_factory=list)

    def add(self, more: RubricCounts) -> None:
        """Take in the counts of further rows."""
        for mine, theirs in (
            (self.dropped_rows, more.dropped_rows),
            (self.dropped_criteria, more.dropped_criteria),
            (self.mended, more.mended),
            (self.told_by, more.told_by),
        ):
            mine.update(theirs)
        self.demands += more.demands
        self.failures += more.failures
        self.unclear += more.unclear


@dataclass(frozen=True, slots=True)
class _Told:
    """The polarity of a criterion; None where it is in doubt, or left out."""

    polarity: Polarity | None
    by: SignSource | Literal["nothing"] | None = None
    """Source of the polarity; None where that was no question."""
    against: Literal["demand", "failure"] | None = None
    """Wording that disagrees with the sign of the size."""


def read_rubric(
    written: Sequence[Any],
    convention: Convention,
    doubt: Doubt,
    where: str,
    counts: RubricCounts,
    asked: str = "",
) -> list[dict[str, Any]]:
    """The criteria of one rubric, each as `Criterion.to_row`.

    Args:
        written: its entries, tables or texts.
        where: its row, for messages.
        doubt, counts, asked: see `settle`.

    Raises:
        DataError: an entry states a polarity that is none.
    """
    items: list[RubricItem] = []
    for place, entry in enumerate(written):
        item = item_at(entry, f"{where}, criterion {place}")
        if reason := usable(item, convention):
            counts.dropped_criteria[reason] += 1
        else:
            items.append(item)
    return [criterion.to_row() for _, criterion in settle(items, convention, doubt, counts, asked)]


def item_at(entry: Any, where: str) -> RubricItem:
    """The parts of an entry; see `read_item`.

    Raises:
        DataError: the entry states a polarity that is none, or a scale that is none.
    """
    try:
        return read_item(entry)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def usable(item: RubricItem, convention: Convention) -> str:
    """Reason against taking an entry; empty where it is a criterion."""
    if item.by_rule:
        return "to be checked by a program"
    if not item.text:
        return "without a text"
    if convention.sized and not item.size:
        return "without points"
    return item.flaw or ("of 0 points" if item.size == 0 else "")


def settle(
    items: Sequence[RubricItem],
    convention: Convention,
    doubt: Doubt,
    counts: RubricCounts,
    asked: str = "",
) -> list[tuple[RubricItem, Criterion]]:
    """The criteria that entries of one rubric are, each with the entry.

    Args:
        items: entries that are `usable`.
        doubt: treatment of those whose sign nothing tells, or whose size and wording disagree.
        counts: take what is left out and what told the signs.
        asked: the prompt of the rubric as text.
    """
    wanted = [item.text for item in items if _is_wanted(item)]
    kept: list[tuple[RubricItem, Criterion]] = []
    known: dict[str, Polarity] = {}
    for item in items:
        told = _told(item, wanted, convention)
        if told.polarity is None:
            unclear = UnclearSign(asked, item.text, tuple(t for t in wanted if t != item.text))
            told = _decided(told, unclear, doubt)
            counts.unclear += [] if told.by == "judge" else [unclear]
        key = normalized(item.text)
        if told.polarity and key in known and not convention.repeats:
            is_same = known[key] == told.polarity
            counts.dropped_criteria["repeated" if is_same else "repeated to the contrary"] += 1
            continue
        if told.by is not None:
            counts.told_by[told.by] += 1
        counts.demands += told.against == "demand"
        counts.failures += told.against == "failure"
        if told.polarity:
            known[key] = told.polarity
            kept.append((item, _criterion(item, told.polarity, convention)))
    return kept


def _decided(told: _Told, unclear: UnclearSign, doubt: Doubt) -> _Told:
    """A sign in doubt, as a judge told it, or as such are treated."""
    by_judge = doubt.known.get(unclear.key)
    if by_judge is not None:
        return _Told(by_judge, "judge")
    return replace(told, polarity=doubt.untold(is_wanted=told.against == "failure"))


def _criterion(item: RubricItem, polarity: Polarity, convention: Convention) -> Criterion:
    return Criterion(
        text=item.text,
        polarity=polarity,
        label=item.label or convention.class_of(item.size, polarity),
        points=1.0 if item.size is None else abs(item.size),
        axis=item.axis,
        scale=item.scale,
    )


def _told(item: RubricItem, wanted: Sequence[str], convention: Convention) -> _Told:
    is_negative = item.size is not None and item.size < 0
    in_question = is_negative or item.label == "pitfall" or item.polarity == "negative"
    if item.polarity is not None:
        return _Told(item.polarity, "column" if in_question else None)
    if not in_question:
        is_blamed = convention.signed and is_failure(item.text)
        return _Told(None, against="failure") if is_blamed else _Told("positive")
    told = sign(item.text, item.title, wanted)
    if not convention.signed or item.is_pitfall or not is_negative:
        return _Told(told.polarity, told.told_by) if told else _Told(None, "nothing")
    if (told is not None and told.polarity == "positive") or is_praise(item.text):
        return _Told(None, against="demand")
    return _Told("negative", told.told_by if told else "size")


def _is_wanted(item: RubricItem) -> bool:
    """True for what the rubric asks for: not for its pitfalls."""
    return item.label != "pitfall" and (item.size or 0) >= 0 and item.polarity != "negative"
