"""Shorter spellings of an update's settings: `loss: gspo` with `epsilon` beside it, and
`correction: token_mask` with `correction_cap`. They become the sections that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_USUAL_EPSILON = 0.2
_LEVELS = ("token", "sequence")


def named(value: Any, name: str) -> Any:
    """A section of several kinds, from its name alone or without one, which is then `name`."""
    if isinstance(value, str):
        return {"name": value}
    return {"name": name, **value} if isinstance(value, Mapping) else value


def with_sections(update: Mapping[str, Any]) -> dict[str, Any]:
    """An update whose loss and correction have their settings in sections of their own."""
    found = dict(update)
    beside = _taken(found, "epsilon", "epsilon_high", "dual_clip")
    if beside or "loss" in found:
        found["loss"] = _loss(named(found.get("loss", "dapo"), "dapo"), beside)
    bounds = _taken(found, "correction_cap", "correction_floor")
    if bounds or "correction" in found:
        found["correction"] = _correction(found.get("correction", "truncate"), bounds)
    return found


def _taken(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    """The settings of these names that are there, taken out."""
    return {name: settings.pop(name) for name in names if name in settings}


def _loss(loss: Any, beside: dict[str, Any]) -> Any:
    if not isinstance(loss, Mapping) or not beside:
        return loss
    if loss.get("name") == "cispo":
        if beside.get("epsilon") == _USUAL_EPSILON:
            del beside["epsilon"]
        if beside.get("epsilon_high") is not None:
            beside["cap"] = beside.pop("epsilon_high")
        beside = {key: value for key, value in beside.items() if value is not None}
    elif "epsilon" in beside:
        beside.setdefault("epsilon_high", None)  # as large as epsilon
    return beside | dict(loss)


def _correction(correction: Any, bounds: dict[str, Any]) -> Any:
    level, _, name = correction.partition("_") if isinstance(correction, str) else ("", "", "")
    section = {"name": name, "level": level} if level in _LEVELS else named(correction, "truncate")
    if not isinstance(section, Mapping) or section.get("name") == "none":
        return section
    given = {
        name.removeprefix("correction_"): bound
        for name, bound in bounds.items()
        if bound is not None
    }
    return given | dict(section)
