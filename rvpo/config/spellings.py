"""Other spellings of settings, which become what they stand for.

Of an update: `loss: gspo` with `epsilon` beside it, and `correction: token_mask` with
`correction_cap`. Of an estimator: its name alone, `scale_by_std`, `require_all`, `standardise`, and
GRPO's words `neutral` and `sum` for missing scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from rvpo.losses import PolicyLoss

_USUAL_EPSILON = 0.2
_TWO_SIDED = {
    kind.model_fields["name"].default
    for kind in get_args(PolicyLoss)
    if "epsilon_high" in kind.model_fields
}
"""Losses whose upper distance may differ from the lower one."""
_LEVELS = ("token", "sequence")
_SWITCH = TypeAdapter(bool)
_MISSING = {"neutral": "group_mean", "sum": "zero"}
_WITHOUT_Z_SCORES = {
    "rvpo": "is {name: raw_rvpo}",
    "gdpo": "adds scores up as GRPO does; write {name: grpo}, or {name: raw_rvpo, k: 0} to whiten "
    "the sum over the batch too",
    "hard_min": "is the minimum of the scores; write {name: raw_rvpo, k: .inf}",
    "mean_variance": "expands the soft minimum of the scores; write {name: raw_rvpo, k: ...}, with "
    "twice its beta for k",
}


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
    is_cispo = loss.get("name") == "cispo"
    _refuse_twice("loss", beside, loss, {"epsilon_high": "cap"} if is_cispo else {})
    if is_cispo:
        if beside.get("epsilon") == _USUAL_EPSILON:
            del beside["epsilon"]
        if beside.get("epsilon_high") is not None:
            beside["cap"] = beside.pop("epsilon_high")
        beside = {key: value for key, value in beside.items() if value is not None}
    elif "epsilon" in beside and loss.get("name") in _TWO_SIDED:
        beside.setdefault("epsilon_high", None)  # as large as epsilon
    return beside | dict(loss)


def _correction(correction: Any, bounds: dict[str, Any]) -> Any:
    level, _, name = correction.partition("_") if isinstance(correction, str) else ("", "", "")
    section = {"name": name, "level": level} if level in _LEVELS else named(correction, "truncate")
    if not isinstance(section, Mapping) or section.get("name") == "none":
        return section
    within = {name: name.removeprefix("correction_") for name in bounds}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    _refuse_twice("correction", given, section, within)
    return {within[name]: bound for name, bound in given.items()} | dict(section)


def _refuse_twice(
    section: str, beside: Mapping[str, Any], inside: Mapping[str, Any], names: Mapping[str, str]
) -> None:
    """Refuse a setting that stands beside its section and within, with two values.

    Args:
        names: those that are called otherwise within, by their name beside.

    Raises:
        ValueError: says which one to leave.
    """
    for name, value in beside.items():
        own = names.get(name, name)
        if own in inside and inside[own] != value:
            raise ValueError(
                f"{name}: {value} is given, and {section}.{own}: {inside[own]} too; write "
                f"update.{section}.{own} alone"
            )


def estimator(value: Any) -> Any:
    """The section of an estimator.

    Raises:
        ValueError: a spelling has no section to stand for; says what to write instead.
    """
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    name = found.get("name")
    if name == "grpo" and (by_deviation := _flag(found, "scale_by_std")) is not None:
        scale = "group" if by_deviation else "none"
        if found.setdefault("scale", scale) != scale:
            raise ValueError(
                f"scale_by_std: {str(by_deviation).lower()} means scale: {scale}, and scale: "
                f"{found['scale']} is given too; leave scale_by_std out"
            )
    if isinstance(found.get("missing"), str):
        found["missing"] = _MISSING.get(found["missing"], found["missing"])
    if _flag(found, "require_all") and found.setdefault("missing", "skip_sample") != "skip_sample":
        raise ValueError(
            f"require_all: true means missing: skip_sample, and missing: {found['missing']} is "
            "given too; leave require_all out"
        )
    words = _WITHOUT_Z_SCORES.get(name) if isinstance(name, str) else None
    if words and _flag(found, "standardise") is False:
        if name != "rvpo":
            raise ValueError(f"{name} with standardise: false {words}")
        found["name"] = "raw_rvpo"
    return found


def _flag(settings: dict[str, Any], name: str) -> bool | None:
    """A switch, taken out of the settings; None where it is not there.

    Raises:
        ValueError: it is neither on nor off.
    """
    if name not in settings:
        return None
    value = settings.pop(name)
    try:
        return _SWITCH.validate_python(value)
    except ValidationError:
        raise ValueError(f"{name} must be true or false, got {value!r}") from None
