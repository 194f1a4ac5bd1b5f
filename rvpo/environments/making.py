"""Objects of the user's own, made by a function that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rvpo.errors import ConfigError
from rvpo.runtime.deepcopy import own
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden

FACTORY: Final = "environment.factory"
"""Setting that names the function."""


def made(factory: Callable[..., Any], given: Mapping[str, Any], hidden: Hidden, path: str) -> Any:
    """The object that a factory makes.

    Args:
        given: its keyword arguments, with what the environment holds.
        hidden: takes that out of what is told.
        path: import path of the factory, for messages.

    Raises:
        ConfigError: it failed.
    """
    try:
        return factory(**own(dict(given)))
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        at = line_of(error, factory)
        said = hidden.out_of(f"{type(error).__name__}: {error}")
        raise ConfigError(
            f"{FACTORY}: {path} failed: {said}" + (f" ({at})" if at else "")
        ) from error
