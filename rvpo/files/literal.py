"""Lists and tables that a data set stores as text, and what they hold at some depth."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any


def read_list(value: Any) -> list[Any] | None:
    """The list in a cell: one already, or written as JSON or as a Python literal; else None."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return None


def read_value(value: Any) -> Any:
    """The list or table in a cell, where it is written as JSON or as a Python literal; other values
    as they are."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    parsed = _parsed(value)
    return value if parsed is None else parsed


def inside(row: Mapping[str, Any], path: str) -> Any:
    """Value of a column, or of a field at some depth of one: `reward_model.rubrics` is the field
    `rubrics` of the column `reward_model`, which may be a table or text that is one; a number is a
    place in a list, from 0. None where there is nothing."""
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        value = read_value(value)
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list | tuple) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _parsed(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
