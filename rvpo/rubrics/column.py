"""The criteria of a prompt, as a column of the data holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from rvpo.criterion import Criterion
from rvpo.rubrics.doubt import Doubt
from rvpo.rubrics.item import RubricItem, read_item
from rvpo.rubrics.listing import entries
from rvpo.rubrics.settling import Convention, RubricCounts, settle, usable
from rvpo.rubrics.sign import Doubtful

_CONVENTION = Convention(repeats=True)
_NUMBERS = ("points", "weight", "score")
_FIELDS = frozenset(each.name for each in fields(Criterion))


@dataclass(frozen=True, slots=True)
class CriteriaColumn:
    """The criteria in a cell, and what was unclear about them."""

    criteria: tuple[Criterion, ...] = ()
    counts: RubricCounts = field(default_factory=RubricCounts)


def read_column(value: Any, doubtful: Doubtful) -> CriteriaColumn | None:
    """The criteria in a cell: a list of texts or of tables, or text that is one; None where it is
    neither.

    A table in the fields of `Criterion` is taken as it is. Other names, negative points, and marks
    in a text are read as data sets use them.

    Args:
        doubtful: treatment of criteria whose points and wording disagree: "drop" leaves them out,
            "keep" follows the points, "flip" the wording.

    Raises:
        TypeError, ValueError: what it holds are no criteria.
    """
    if value is None or value == "":
        return CriteriaColumn()
    if isinstance(value, list | tuple) and all(map(_is_plain, value)):
        return CriteriaColumn(tuple(map(Criterion.from_row, value)))
    return _read(json.dumps(value, default=str), doubtful)


@lru_cache(maxsize=4096)  # a prompt's criteria are asked for at every step of a sample's way
def _read(written: str, doubtful: Doubtful) -> CriteriaColumn | None:
    listed = entries(json.loads(written))
    if listed is None:
        return None
    read = [_entry(entry) for entry in listed]
    items = [each for each in read if isinstance(each, RubricItem)]
    counts = RubricCounts()
    for item in items:
        if reason := usable(item, _CONVENTION):
            counts.dropped_criteria[reason] += 1
    good = [item for item in items if not usable(item, _CONVENTION)]
    settled = {id(item): one for item, one in settle(good, _CONVENTION, Doubt(doubtful), counts)}
    found = (each if isinstance(each, Criterion) else settled.get(id(each)) for each in read)
    return CriteriaColumn(tuple(criterion for criterion in found if criterion is not None), counts)


def _entry(entry: Any) -> Criterion | RubricItem:
    if _is_plain(entry):
        return Criterion.from_row(entry)
    if not isinstance(entry, Mapping | str):
        raise TypeError(f"{entry!r} is no text and no table with one")
    item = read_item(entry)
    if not item.text and not item.by_rule:
        raise ValueError(f"a criterion needs a text, {str(entry)[:80]} has none")
    if item.size is None and isinstance(entry, Mapping):
        for name in _NUMBERS:
            if entry.get(name) is not None:
                raise ValueError(f"{name} must be a finite number, got {entry[name]!r:.80}")
    return item


def _is_plain(entry: Any) -> bool:
    """True for a row in our own fields, whose size says nothing about its sign."""
    if not isinstance(entry, Mapping):
        return False
    points = entry.get("points")
    is_size = points is None or (
        isinstance(points, int | float) and not isinstance(points, bool) and not points < 0
    )
    return entry.keys() <= _FIELDS and is_size
