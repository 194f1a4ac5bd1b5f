"""Objects of Python, one for each episode, as TRL's `environment_factory`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import Field

from rvpo.environments.caller import ToolCaller
from rvpo.environments.calls_config import CallsConfig
from rvpo.environments.environment import WorldReply
from rvpo.environments.making import ARGUMENTS, FACTORY, check_named, made
from rvpo.environments.tool import Tool, by_name, read_by_policy, tool_of
from rvpo.errors import ConfigError, DataError, nearest
from rvpo.fields import ImportPath
from rvpo.runtime.deepcopy import own
from rvpo.runtime.imports import import_function
from rvpo.runtime.variable import filled
from rvpo.types import Message, Prompt

_RESERVED: Final = ("reset", "get_reward")
"""Methods that are no tools, as by TRL."""


class PythonConfig(CallsConfig):
    """An object of Python for each episode, whose public methods are tools beside `functions`."""

    name: Literal["python"] = "python"
    factory: ImportPath
    """`module:Class`, or a function that returns an object. Its `reset` is called when an episode
    begins, with the columns of the data that it takes; text that it returns goes to the end of the
    prompt."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the factory. `{variable: NAME}` at any depth is what the environment
    holds under that name, which is how it gets a key."""

    def open(self) -> PythonEnvironment:
        """The factory, tried once.

        Raises:
            ConfigError: see `CallsConfig.imported`; or it fails, or makes something without `reset`
                or without a tool.
        """
        factory = import_function(self.factory, FACTORY)
        caller = self.caller(self.arguments)
        given = filled(self.arguments, ARGUMENTS)
        trial = made(factory, given, caller.hidden, self.factory)
        if not callable(getattr(trial, "reset", None)):
            raise ConfigError(
                f"{FACTORY}: {self.factory} makes a value of type {type(trial).__name__}, which "
                "has no method reset; write one, which is called when an episode begins"
            )
        methods = [tool_of(getattr(trial, name), FACTORY) for name in _public(type(trial))]
        tools = by_name([*self.imported(), *methods], "environment")
        if not tools:
            raise ConfigError(
                f"{FACTORY}: {self.factory} has no public method beside reset, and nothing for a "
                "policy to call; write one, or name functions"
            )
        reset = tuple(inspect.signature(trial.reset).parameters.values())
        check_named(reset, f"{self.factory}.reset")
        return PythonEnvironment(
            tools,
            caller,
            factory,
            given,
            methods=frozenset(tool.name for tool in methods),
            reset=reset,
            has_reward=callable(getattr(trial, "get_reward", None)),
        )


@dataclass(frozen=True)
class PythonEnvironment:
    """See `rvpo.environments.environment.Environment`."""

    by_name: Mapping[str, Tool]
    """Tools; the methods among them are those of the object that was tried."""
    caller: ToolCaller
    factory: Callable[..., Any]
    arguments: Mapping[str, Any]
    """Those of the factory, with what the environment holds."""
    methods: frozenset[str]
    reset: tuple[inspect.Parameter, ...]
    has_reward: bool
    """True where the objects have a method `get_reward`."""

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]:
        """See `Environment.tools`."""
        return tuple(tool.schema for tool in self.by_name.values())

    def session(self, prompt: Prompt, seed: int) -> PythonSession:
        """See `Environment.session`.

        Raises:
            DataError: `reset` needs a column that the data do not have.
        """
        return PythonSession(self, _columns(self.reset, prompt, seed))

    async def close(self) -> None:
        """See `Environment.close`."""
        await self.caller.close()


class PythonSession:
    """An object, whose state is that of the episode.

    Args:
        columns: the arguments of `reset`.
    """

    def __init__(self, world: PythonEnvironment, columns: Mapping[str, Any]) -> None:
        self._world = world
        self._columns = columns
        self._tools: Mapping[str, Tool] = {}
        self.state: Any = None

    async def begin(self) -> Sequence[Message] | str:
        """See `Session.begin`."""
        world = self._world
        self.state = await world.caller.made(world.factory, own(dict(world.arguments)))
        self._tools = {
            name: replace(tool, function=getattr(self.state, name))
            if name in world.methods
            else tool
            for name, tool in world.by_name.items()
        }
        told: str = await world.caller.made(self.state.reset, self._columns, _observation)
        return told

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        return await self._world.caller.reply(self._tools, message)

    async def close(self) -> None:
        """See `Session.close`."""


def _public(kind: type) -> list[str]:
    """Names of the methods that are tools, in the order in which TRL shows them."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return [name for name, _ in found if not name.startswith("_") and name not in _RESERVED]


def _columns(reset: Sequence[inspect.Parameter], prompt: Prompt, seed: int) -> dict[str, Any]:
    """The part of a row that `reset` is given: all of it where it takes all, as by TRL, else what
    it names; and the seed where it names one that is no column.

    Raises:
        DataError: it needs something else.
    """
    messages = [dict(message) for message in prompt.messages]
    row = {"prompt": messages if prompt.text is None else prompt.text, **prompt.columns}
    named = [p.name for p in reset if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if "seed" in named:
        row.setdefault("seed", seed)
    required = [p.name for p in reset if p.name in named and p.default is p.empty]
    lacking = next((name for name in required if name not in row), None)
    if lacking is not None:
        guess = nearest(lacking, list(row))
        meant = f"; did you mean '{guess}'?" if guess else ""
        raise DataError(
            f"{FACTORY}: reset needs a column '{lacking}', and the data has {', '.join(row)}"
            + meant
        )
    takes_all = any(p.kind is p.VAR_KEYWORD for p in reset)
    given: dict[str, Any] = own(
        {name: value for name, value in row.items() if takes_all or name in named}
    )
    return given


def _observation(told: Any) -> str:
    if told is None:
        return ""
    if not isinstance(told, str | list):
        raise TypeError(f"it returned a value of type {type(told).__name__}; return text or None")
    return read_by_policy(told)
