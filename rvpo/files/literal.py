"""Lists that a data set stores as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any


def read_list(value: Any) -> list[Any] | None:
    """The list in a cell: one already, or written as JSON or as a Python literal; else None."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return None


def _parsed(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
