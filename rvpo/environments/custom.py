"""An environment of the user's own, by the protocol in `rvpo.environments.environment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from rvpo.environments.environment import Environment
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.making import ARGUMENTS, FACTORY, made
from rvpo.errors import ConfigError
from rvpo.fields import ImportPath
from rvpo.runtime.imports import import_function
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of

_METHODS: Final = ("session", "close")


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
            ConfigError: it cannot be made, lacks a part of the protocol, or has tools that are not
            described.
        """
        factory = import_function(self.factory, FACTORY)
        given = filled(self.arguments, ARGUMENTS)
        hidden = Hidden(secrets_of(self.arguments))
        world: Environment = made(factory, given, hidden, self.factory)
        lacking = [each for each in _METHODS if not callable(getattr(world, each, None))]
        if not hasattr(type(world), "tools") and not hasattr(world, "tools"):
            lacking.insert(0, "tools")
        if lacking:
            raise ConfigError(
                f"{FACTORY}: {self.factory} makes a value of type {type(world).__name__}, which "
                f"has no {lacking[0]}; an environment has tools, {' and '.join(_METHODS)} "
                "(rvpo.environments.Environment)"
            )
        self._check_tools(world, hidden)
        return world

    def _check_tools(self, world: Environment, hidden: Hidden) -> None:
        """Refuse tools that are not described as prompts show them.

        Raises:
            ConfigError: they are not.
        """
        try:
            tools: Any = world.tools
        except (Exception, SystemExit) as error:  # the user's code, which can raise anything
            at, said = line_of(error), hidden.out_of(f"{type(error).__name__}: {error}")
            raise ConfigError(
                f"{FACTORY}: {self.factory} does not tell its tools: {said}"
                + (f" ({at})" if at else "")
            ) from error
        is_list = isinstance(tools, Sequence) and not isinstance(tools, str)
        every = tools if is_list else [tools]
        wrong = [type(tool).__name__ for tool in every if not _is_described(tool)]
        if wrong:
            raise ConfigError(
                f"{FACTORY}: {self.factory} has tools with a value of type {wrong[0]}; write a "
                'list of descriptions {"type": "function", "function": {"name": ...}}, as '
                "transformers.utils.get_json_schema makes one of a function"
            )


def _is_described(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str)
