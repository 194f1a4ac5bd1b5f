"""The settings of environments whose tools are functions of Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from rvpo.environments.caller import ToolCaller
from rvpo.environments.calling import Calling
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.tool import Tool, tool_of
from rvpo.fields import ImportPath, PositiveInt, Section
from rvpo.runtime.imports import import_function
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of

FUNCTIONS: Final = "environment.functions"


class ToolFunction(Section):
    """A function of Python that the policy may call."""

    function: ImportPath
    """`module:function`, sync or async. Its type hints, and its docstring with a section `Args:` in
    Google's style, are what the policy is shown."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments that are filled in: the policy neither sees nor gives them.
    `{variable: NAME}` at any depth is what the environment holds under that name, which is how a
    function gets a key."""


def _path_alone(value: Any) -> Any:
    if isinstance(value, str):
        return {"function": value}
    if not isinstance(value, Mapping | ToolFunction):
        raise ValueError(
            f"must be module:function, or a table with it as function, got {value!r:.60}"
        )
    return value


AnyFunction = Annotated[ToolFunction, BeforeValidator(_path_alone)]
"""A function, which may be given by its path alone."""


class CallsConfig(EnvironmentConfig):
    """An environment whose tools are functions of Python."""

    functions: tuple[AnyFunction, ...] = ()
    """Functions that the policy may call, each as `module:function`, or with `arguments`."""
    calls_per_turn: PositiveInt = 16
    """Calls of one turn that are made; the policy is told that the others are too many."""
    result_characters: PositiveInt = 20_000
    """Characters of a result that the policy is told; the rest is cut off."""

    def imported(self) -> list[Tool]:
        """The functions as tools.

        Raises:
            ConfigError: one does not import or cannot be a tool, or a variable of its arguments is
                not in the environment.
        """
        return [tool_of(function, where, given) for where, function, given in self.filled_in()]

    def filled_in(self) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
        """The setting that names each function, the function, and its arguments of the settings.

        Raises:
            ConfigError: it does not import, or a variable is not in the environment.
        """
        for number, each in enumerate(self.functions):
            where = f"{FUNCTIONS}[{number}]"
            given = filled(each.arguments, f"{where}.arguments")
            yield where, import_function(each.function, where), given

    def caller(self, arguments: Mapping[str, Any] | None = None) -> ToolCaller:
        """Makes the calls of episodes.

        Args:
            arguments: others than those of the functions, whose variables are secrets too.
        """
        given = [arguments or {}, *(each.arguments for each in self.functions)]
        return ToolCaller(
            Calling(),
            Hidden(secret for each in given for secret in secrets_of(each)),
            self.seconds,
            self.calls_per_turn,
            self.result_characters,
        )
