"""A Python function as a tool: what a policy is shown of it, and what it is told by it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import Any, Final, Literal, Protocol, get_args, get_origin, get_type_hints, is_typeddict

from rvpo.environments.environment import ToolFailed
from rvpo.errors import ConfigError, nearest

_JSON: Final = (str, int, float, bool, list, dict, tuple, NoneType)


@dataclass(frozen=True)
class Tool:
    """A function that a policy may call."""

    function: Callable[..., Any]
    """Sync or async, with the arguments filled in that are not the policy's."""
    schema: Mapping[str, Any]
    """Description that the policy is shown, as OpenAI's API describes a function."""

    @property
    def name(self) -> str:
        return str(self.schema["function"]["name"])

    def problem_with(self, arguments: Mapping[str, Any]) -> str:
        """Reason that it cannot be called with them, in words for a policy; empty where it can.

        What the policy is not shown it cannot give, such as arguments of the settings.
        """
        shown = self.schema["function"]["parameters"]
        for name in arguments:
            if name not in shown["properties"]:
                takes = ", ".join(shown["properties"]) or "none"
                return f"{self.name} has no argument {name[:60]!r}; it takes {takes}"
        lacking = [name for name in shown.get("required", ()) if name not in arguments]
        return f"{self.name} needs {', '.join(lacking)}" if lacking else ""


def tool_of(
    function: Callable[..., Any], where: str, arguments: Mapping[str, Any] | None = None
) -> Tool:
    """A function as a tool, described by its type hints and by its docstring in Google's style, as
    `transformers.utils.get_json_schema` reads them.

    Args:
        function: a function, a method of an object, or a `partial` of either.
        where: the setting that names it, for messages.
        arguments: those that are not the policy's.

    Raises:
        ConfigError: it cannot be called by name, lacks a hint or a description, or has no argument
            of such a name.
    """
    arguments = arguments or {}
    plain, name = _plain(function, where)
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(
                f"{where}: {name} takes {parameter}, which a policy cannot give by name; write out "
                "the arguments that it can"
            )
    for given in arguments:
        if given not in parameters:
            guess = nearest(given, list(parameters))
            meant = f"did you mean '{guess}'?" if guess else f"it takes {', '.join(parameters)}"
            raise ConfigError(f"{where}.arguments.{given}: {name} has no such argument; {meant}")
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise ConfigError(f"{where}: {name} yields, and a policy is told a result; return it")
    filled_in = {*arguments, *(function.keywords if isinstance(function, partial) else ())}
    schema = _described(plain, name, where)
    shown = schema["function"]["parameters"]
    free = [each for each in shown["properties"] if each in parameters and each not in filled_in]
    _check_hints({each: get_type_hints(plain)[each] for each in free}, name, where)
    shown["properties"] = {each: shown["properties"][each] for each in free}
    if "required" in shown:
        shown["required"] = [each for each in shown["required"] if each in free]
    return Tool(partial(function, **arguments) if arguments else function, schema)


def by_name(tools: Sequence[Tool], where: str) -> dict[str, Tool]:
    """Tools by their names.

    Raises:
        ConfigError: two have the same.
    """
    found: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in found:
            raise ConfigError(
                f"{where}: two tools are called {tool.name}, and a policy could not tell which it "
                "calls; rename one of the functions"
            )
        found[tool.name] = tool
    return found


def read_by_policy(result: Any) -> str:
    """The result of a call, as the policy reads it: as by TRL, parts of text without what is around
    them, and anything else as `str` writes it.

    Raises:
        ToolFailed: it holds a part that is no text, such as an image.
        TypeError: it is a coroutine or the like, which nobody awaits, or a generator.
    """
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("it returned a coroutine; write async def where it is defined")
    if inspect.isawaitable(result) or isinstance(result, Iterator | AsyncIterator):
        raise TypeError(
            f"it returned a value of type {type(result).__name__}; return what it gives"
        )
    parts = result if isinstance(result, list) and all(map(_is_part, result)) else []
    for part in parts:
        if part["type"] != "text":
            raise ToolFailed(f"it returned a part of type {part['type']!r}; a policy reads text")
    text = "".join(str(part.get("text", "")) for part in parts) if parts else str(result)
    return written(text)


def written(text: str) -> str:
    """The text with a mark in place of each half of a character, which has no tokens."""
    return text.encode("utf-8", "replace").decode()


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def _plain(function: Callable[..., Any], where: str) -> tuple[Callable[..., Any], str]:
    """The function below what was filled in, and its name.

    Raises:
        ConfigError: it is a class, or an object that can be called, or has no name to be called by.
    """
    plain: Any = function
    while isinstance(plain, partial):
        plain = plain.func
    if inspect.isclass(plain):
        raise ConfigError(
            f"{where}: {plain.__name__} is a class; name a function, or give each episode an "
            "object of its own with environment: {name: python, factory: module:Class}"
        )
    name = getattr(plain, "__name__", "")
    if not name.isidentifier():
        shown = name or f"an object of {type(plain).__name__}"
        raise ConfigError(f"{where}: {shown} has no name to be called by; write def around it")
    return plain, name


def _check_hints(hints: Mapping[str, Any], name: str, where: str) -> None:
    """Refuse arguments that are no JSON: a policy would be shown an object, and each call fail.

    Raises:
        ConfigError: there is one.
    """
    for argument, hint in hints.items():
        for kind in _classes(hint):
            if not _may_be_json(kind):
                raise ConfigError(
                    f"{where}: {name} takes {argument} as {kind.__name__}, and calls are made with "
                    "JSON; write str, int, float, bool, Literal, list, dict or a TypedDict, and "
                    f"make the {kind.__name__} of it in the function"
                )


def _may_be_json(kind: type) -> bool:
    """True of what JSON has, of what stands above it, and of what is told by its methods alone."""
    is_abstract = kind.__module__ in ("collections.abc", "numbers") or Protocol in kind.__mro__
    return is_abstract or is_typeddict(kind) or any(kind in each.__mro__ for each in _JSON)


def _classes(hint: Any) -> Iterator[type]:
    """The classes of which a value may be by its hint, at any depth."""
    if inspect.isclass(hint) and hint is not Any and not get_args(hint):
        yield hint
    elif get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _classes(part)


def _described(function: Callable[..., Any], name: str, where: str) -> dict[str, Any]:
    from transformers.utils.chat_template_utils import get_json_schema

    try:
        return deepcopy(get_json_schema(function))
    except Exception as error:  # it evaluates the user's hints, which can raise anything
        raise ConfigError(
            f"{where}: {name} cannot be shown to a policy ({' '.join(str(error).split())}); give "
            "each argument a type hint, and the function a docstring with each of them in `Args:`"
        ) from error
