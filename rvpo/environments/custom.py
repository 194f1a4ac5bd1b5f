"""An environment of the user's own, by the protocol in `rvpo.environments.environment`."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from rvpo.environments.environment import Environment
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.making import FACTORY, made
from rvpo.errors import ConfigError
from rvpo.fields import ImportPath
from rvpo.runtime.imports import import_function
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of

_PARTS: Final = ("tools", "session", "close")


class CustomConfig(EnvironmentConfig):
    """A world by rvpo's own protocol, for what is no tool: a user who is simulated, a game, a
    program that answers."""

    name: Literal["custom"] = "custom"
    factory: ImportPath
    """`module:Class`, or a function that returns such an object, made once on each rank: `tools`,
    `session(prompt, seed)` for each episode, and `close`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the factory. `{variable: NAME}` at any depth is what the environment
    holds under that name, which is how it gets a key."""

    def open(self) -> Environment:
        """The object.

        Raises:
            ConfigError: it cannot be made, or lacks a part of the protocol.
        """
        factory = import_function(self.factory, FACTORY)
        given = filled(self.arguments, "environment.arguments")
        hidden = Hidden(secrets_of(self.arguments))
        world: Environment = made(factory, given, hidden, self.factory)
        lacking = [part for part in _PARTS if not hasattr(world, part)]
        if lacking:
            raise ConfigError(
                f"{FACTORY}: {self.factory} makes a value of type {type(world).__name__}, which "
                f"has no {lacking[0]}; an environment has {', '.join(_PARTS)} "
                "(rvpo.environments.Environment)"
            )
        return world
