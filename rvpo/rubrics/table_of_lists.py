"""Rubrics that are a table of lists: one for each column, or one for each sign or class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from rvpo.files.literal import read_value
from rvpo.rubrics.item import AXES, CLASSES, FLAGS, NESTED, PASSES, SIGNS, SIZES, TEXTS, truth
from rvpo.rubrics.label import class_of_word

LISTS: Final = (
    "criteria",
    "rubrics",
    "rubric",
    "items",
    "checklist",
    "requirements",
    "judge",
    "list",
)
"""Names under which a table holds the list of its criteria."""

_FIELDS: Final = (*TEXTS, *SIZES, *CLASSES, *AXES, *SIGNS, *PASSES, *FLAGS, *NESTED, "scale")
_FIELD_OF: Final[Mapping[str, str]] = {
    **{f"{name[:-1]}ies": name for name in _FIELDS if name.endswith("y")},
    **{f"{name}es": name for name in _FIELDS if name.endswith("s")},
    **{f"{name}s": name for name in _FIELDS},
    **{name: name for name in _FIELDS},
}
"""Fields of a criterion by the names of their columns, which may be plural."""
_OF_SIGN: Final = ("positive", "positives", "negative", "negatives")


def of_columns(table: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The criteria of a table with a list for each of its columns, which is how Arrow gives tables
    of structs; None where it is none. What is no list holds for each of them.

    A list of criteria under a name of `LISTS` may have columns beside it too, as `weights`.

    Raises:
        ValueError: columns differ in length.
    """
    values = {name: read_value(value) for name, value in table.items()}
    name = _main_column(values)
    if name is None:
        is_full = bool(values) and all(map(_is_list, values.values()))
        return _rows(values) if is_full else None
    if name not in LISTS:
        if any(isinstance(values.get(text), str) for text in TEXTS if text != "title"):
            return None  # one criterion, with examples or the like
        return _rows({n: value for n, value in values.items() if _is_column(value)})
    more = [n for n in LISTS if n != name and _is_list(values.get(n)) and values[n]]
    if more:
        raise ValueError(
            f"criteria stand in two lists, '{name}' and '{more[0]}'; give one list of criteria"
        )
    beside = {n: value for n, value in values.items() if _is_beside(n, value, values[name])}
    if beside.keys() <= {name}:
        return None
    rows = _rows(beside | {name: values[name]})
    entries = [row.pop(_FIELD_OF.get(name, name)) for row in rows]
    return [row | as_table(entry) for row, entry in zip(rows, entries, strict=True)]


def shared_fields(table: Mapping[str, Any]) -> dict[str, dict[str, str]] | None:
    """The fields that criteria have in common by the names of their lists, which are `positive` and
    `negative`, or classes such as `essential`; None where a table is of another kind."""
    shared = {name: _shared(name) for name, value in table.items() if _holds_criteria(value)}
    is_of_lists = all(fields or name in LISTS for name, fields in shared.items())
    return shared if is_of_lists and any(shared.values()) else None


def as_table(entry: Any) -> dict[str, Any]:
    """An entry as a table, without what it leaves empty."""
    table = entry if isinstance(entry, Mapping) else {TEXTS[1]: entry}
    return {name: value for name, value in table.items() if value is not None}


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = {name: len(value) for name, value in columns.items() if _is_list(value)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(
            f"the lists of its criteria differ in length: {said}; columns have a value for each "
            "criterion, and criteria by their sign stand under positive and negative"
        )
    fields = {_FIELD_OF.get(name, name): value for name, value in columns.items()}
    return [
        {name: value[place] if _is_list(value) else value for name, value in fields.items()}
        for place in range(max(lengths.values()))
    ]


def _shared(name: str) -> dict[str, str]:
    first = "_".join(name.lower().split()).partition("_")[0]
    if first in _OF_SIGN:
        return {"sign": first.removesuffix("s")}
    return {"class": name} if name not in _FIELD_OF and class_of_word(name) else {}


def _holds_criteria(value: Any) -> bool:
    value = read_value(value)
    if not _is_list(value):
        return isinstance(value, str | Mapping) and bool(value)
    return any(isinstance(entry, str | Mapping) and truth(entry) is None for entry in value)


def _main_column(values: Mapping[str, Any]) -> str | None:
    """The column of the texts, or of the tables that have them."""
    texts = [*TEXTS, *(name for name, field in _FIELD_OF.items() if field in TEXTS)]
    for kinds, names in ((str | None, [*texts, *LISTS]), (Mapping, LISTS)):
        for name in names:
            entries = values.get(name)
            if _is_list(entries) and any(entries) and all(isinstance(e, kinds) for e in entries):
                return name
    return None


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _is_column(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _is_beside(name: str, value: Any, main: list[Any]) -> bool:
    """True for a column beside a list of criteria. A number may be the rubric's as a whole, a sign
    is that of each criterion; what criteria that are tables lack is a size or a sign."""
    field = _FIELD_OF.get(name)
    if not _is_list(value) or not value:
        return field == "polarity" and isinstance(value, str)
    return field in (_FIELDS if isinstance(main[0], str) else (*SIZES, *SIGNS[:2]))
