"""Checks of an estimator's settings that hold with and without pydantic."""

from __future__ import annotations

import math
from typing import Literal, get_args, get_origin, get_type_hints

from rvpo.schedule import Ramp


def check_choices(settings: object) -> None:
    """Refuse a value outside its field's `Literal`.

    Raises:
        ValueError: names the field, the value and what is allowed.
    """
    for field, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, field)
        if get_origin(hint) is Literal and value not in get_args(hint):
            allowed = ", ".join(repr(choice) for choice in get_args(hint))
            raise ValueError(f"{field} must be one of {allowed}, got {value!r}")


def check_eps(eps: float) -> None:
    """Refuse a stabiliser that is not a finite number above 0.

    Raises:
        ValueError: with the value given.
    """
    if not 0 < eps < math.inf:
        raise ValueError(f"eps must be a finite number above 0, got {eps}")


def check_share(name: str, value: float) -> None:
    """Refuse a share that is not in [0, 1].

    Raises:
        ValueError: names the setting and its value.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")


def check_risk(k: float | Ramp) -> None:
    """Refuse a risk coefficient that is negative or NaN, at either end of its ramp.

    Raises:
        ValueError: with the value given.
    """
    for each in (k.start, k.end) if isinstance(k, Ramp) else (k,):
        if not each >= 0:
            raise ValueError(f"k must be at least 0, got {each}")
