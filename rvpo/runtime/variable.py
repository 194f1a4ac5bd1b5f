"""Arguments out of the environment: `{variable: NAME}`, so that no setting is a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rvpo.errors import ConfigError


def is_variable(value: Any) -> bool:
    """True where a value stands for an environment variable: a table of `variable`, in capitals."""
    if not isinstance(value, Mapping) or set(value) != {"variable"}:
        return False
    name = value["variable"]
    return isinstance(name, str) and re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) is not None


def filled(value: Any, where: str) -> Any:
    """A copy with the text of the environment variable in place of every `{variable: NAME}`.

    Args:
        value: arguments of a function, at any depth.
        where: the setting that holds them, for messages.

    Raises:
        ConfigError: a variable is not in the environment, or empty.
    """
    if is_variable(value):
        name = value["variable"]
        if not os.environ.get(name):
            raise ConfigError(
                f"{where}: the environment has no variable {name}; write `export {name}=...` "
                "before the run"
            )
        return os.environ[name]
    if isinstance(value, dict):
        return {name: filled(entry, f"{where}.{name}") for name, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, f"{where}[{number}]") for number, entry in enumerate(value)]
    return value


def secrets_of(value: Any) -> Iterator[str]:
    """Values of the environment variables that a value names, of those that are set."""
    if is_variable(value):
        text = os.environ.get(value["variable"])
        if text:
            yield text
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from secrets_of(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from secrets_of(entry)
