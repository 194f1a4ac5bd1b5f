"""Values of vLLM's options, looked at by vLLM itself before any model is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import EnumMeta
from typing import Any, Final, Literal, get_args, get_origin

from rvpo.errors import ConfigError, nearest
from rvpo.rollout.vllm.requirement import VLLM

_WHERE: Final = "rollout.engine.options"
_SHOWN: Final = 12
_HERE: Final = "."  # a model has to be somewhere, and is not read


def check_arguments(options: Mapping[str, Any], arguments: Any = None) -> None:
    """Refuse what vLLM would refuse when it starts, minutes later.

    Args:
        options: those with allowed names.
        arguments: the dataclass of vLLM's arguments, imported if left out.

    Raises:
        ConfigError: a value is none of those that there are, or a table has no such entry.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return
    arguments = arguments or _imported()
    for name, value in given.items():
        choices = _choices(arguments.__dataclass_fields__[name].type)
        if choices and str(value) not in choices:
            close = nearest(str(value), choices)
            allowed = f"did you mean {close}?" if close else "there are " + _listed(choices)
            raise ConfigError(f"{_WHERE}.{name}: vLLM knows no {value!r}; {allowed}")
    try:
        arguments(model=_HERE, **given)
    except (ValueError, TypeError) as error:  # pydantic's is a ValueError
        raise ConfigError(f"{_WHERE}: vLLM refuses {_said(error)}") from error


def _imported() -> Any:
    # Its traces belong to the launcher's log; it reads this when it is imported.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        from vllm.engine.arg_utils import EngineArgs
    except ImportError as error:
        raise ConfigError(f"{_WHERE}: vllm cannot be imported ({error}); {VLLM.advice}") from error
    return EngineArgs


def _choices(kind: Any) -> list[str]:
    """The values of an annotation that names them; empty where others may be given."""
    if isinstance(kind, EnumMeta):
        return [text for member in kind for text in (member.name, str(member.value))]  # type: ignore[var-annotated]
    members = get_args(kind)
    if get_origin(kind) is Literal:
        return [str(member) for member in members]
    found = [_choices(member) for member in members if member is not type(None)]
    return [text for each in found for text in each] if all(found) else []


def _listed(choices: list[str]) -> str:
    more = f" and {len(choices) - _SHOWN} more" if len(choices) > _SHOWN else ""
    return ", ".join(choices[:_SHOWN]) + more


def _said(error: Exception) -> str:
    """An error in one line: pydantic's spans several, and ends in an address."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return " ".join(str(error).split())
    first = errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{getattr(error, 'title', '')}.{place}: {first['msg']}"
