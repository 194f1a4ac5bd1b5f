"""Objects of the user's own, made by a function that the settings name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from rvpo.errors import ConfigError, nearest
from rvpo.runtime.deepcopy import own
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden

FACTORY: Final = "environment.factory"
"""Setting that names the function."""
ARGUMENTS: Final = "environment.arguments"
"""Setting with its arguments."""


def made(factory: Callable[..., Any], given: Mapping[str, Any], hidden: Hidden, path: str) -> Any:
    """The object that a factory makes.

    Args:
        given: its keyword arguments, with what the environment holds.
        hidden: takes that out of what is told.
        path: import path of the factory, for messages.

    Raises:
        ConfigError: it does not take the arguments, lacks one, or failed.
    """
    _check_arguments(factory, given, path)
    try:
        return factory(**own(dict(given)))
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        at = line_of(error, factory)
        said = hidden.out_of(f"{type(error).__name__}: {error}")
        raise ConfigError(
            f"{FACTORY}: {path} failed: {said}" + (f" ({at})" if at else "")
        ) from error


def _check_arguments(factory: Callable[..., Any], given: Iterable[str], path: str) -> None:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # Python does not tell what some of its own take
        return
    check_named(parameters, path)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = next((each for each in given if each not in names), None)
    if unknown is not None and not takes_any:
        guess = nearest(unknown, names)
        takes = f"did you mean '{guess}'?" if guess else f"it takes {', '.join(names) or 'none'}"
        raise ConfigError(f"{ARGUMENTS}.{unknown}: {path} has no such argument; {takes}")
    required = [p.name for p in parameters if p.name in names and p.default is p.empty]
    lacking = [name for name in required if name not in given]
    if lacking:
        raise ConfigError(
            f"{ARGUMENTS}: {path} needs {', '.join(lacking)}; write {ARGUMENTS}.{lacking[0]}=..."
        )


def check_named(parameters: Iterable[inspect.Parameter], path: str) -> None:
    """Refuse parameters that cannot be given by their names.

    Raises:
        ConfigError: one has to be given by its position.
    """
    for each in parameters:
        if each.kind is each.POSITIONAL_ONLY and each.default is each.empty:
            raise ConfigError(
                f"{FACTORY}: {path} takes '{each.name}' by its position alone, and is given all by "
                "name; take the / out of its parameters"
            )
