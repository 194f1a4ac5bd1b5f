"""Values that a text holds, as JSON or as Python prints them."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any


def written(text: str) -> Any:
    """The list or table that a text is; None where it is words.

    Files of tables and exports of dataframes have nested values as such text.
    """
    bare = text.strip()
    if not bare.startswith(("[", "{")):
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of words, which are no Python to be warned of
            return ast.literal_eval(bare)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def shown(value: Any) -> str:
    """A value for messages: short, and of which type."""
    text = repr(value)
    short = text if len(text) <= 60 else text[:57] + "..."
    return "null" if value is None else f"{short} of type {type(value).__name__}"
