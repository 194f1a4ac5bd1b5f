"""A number of any library as Python's own."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Real
from typing import Any

_TIMES = ("m", "M")
"""Kinds of numpy's numbers that are spans and points of time."""


def number_of(value: Any) -> float | None:
    """A number as a float: NaN where it is one or is masked, infinite beyond every float.

    None where it is no number. A value is code of others, and may raise anything.
    """
    if getattr(value, "ndim", None) == 0:
        if bool(getattr(value, "mask", False)):
            return math.nan
        if getattr(getattr(value, "dtype", None), "kind", "") in _TIMES:
            return None
        value = value.item()
    if isinstance(value, Decimal) and value.is_nan():  # which may signal
        return math.nan
    if not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def words_of(value: object) -> str:
    """A value's own words, if it has any."""
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # code of others, which is only asked for words
        return f"a {type(value).__name__} that cannot be shown"
