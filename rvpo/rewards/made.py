"""A reward function that is made by another one: a factory, or a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rvpo.errors import ConfigError, nearest
from rvpo.rewards.number import words_of
from rvpo.runtime.deepcopy import own
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of
from rvpo.types import STANDARD_ARGUMENTS


def parameters_of(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    """The parameters of a function.

    Args:
        where: the setting that names it, for messages.

    Raises:
        ConfigError: it does not show them, as some of Python's own do.
    """
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: Python does not tell what {words_of(function)} takes; write a function "
            "around it"
        ) from error


def named(parameters: Iterable[inspect.Parameter]) -> list[str]:
    """Names of the parameters that a call by keyword can fill."""
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def takes_any(parameters: Iterable[inspect.Parameter]) -> bool:
    """True where a function takes every keyword."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def makes(function: Callable[..., Any], where: str) -> bool:
    """True of a class, and of a function that takes nothing of what every reward function is given:
    it makes one.

    Raises:
        ConfigError: see `parameters_of`.
    """
    if inspect.isclass(function):
        return True
    parameters = parameters_of(function, where)
    if any(p.kind is p.POSITIONAL_ONLY for p in parameters) or takes_any(parameters):
        return False
    return not set(named(parameters)) & set(STANDARD_ARGUMENTS)


def made(
    factory: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> Callable[..., Any]:
    """The reward function that a factory returns, or an object of a class.

    Args:
        arguments: those of the factory; `{variable: NAME}` is what the environment holds.
        where: the section of the reward, for messages.

    Raises:
        ConfigError: the factory does not take the arguments, lacks one, raises, or returns nothing
            that can be called.
    """
    name = getattr(factory, "__name__", type(factory).__name__)
    parameters = parameters_of(factory, f"{where}.function")
    if not takes_any(parameters):
        check_names(arguments, named(parameters), where)
    required = [p for p in parameters if p.default is p.empty]
    lacking = [each for each in named(required) if each not in arguments]
    if lacking:
        raise ConfigError(
            f"{where}.function: {name} makes a reward function, and needs {', '.join(lacking)}; "
            f"write {where}.arguments={{{lacking[0]}: ...}}"
        )
    given = filled(own(dict(arguments)), f"{where}.arguments")
    try:
        function = factory(**given)
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        said = Hidden(secrets_of(arguments)).out_of(words_of(error))
        at = line_of(error, factory)
        raise ConfigError(
            f"{where}.function: {name} failed: {type(error).__name__}: {said}"
            + (f" ({at})" if at else "")
        ) from error
    if not callable(function):
        raise ConfigError(
            f"{where}.function: {name} takes none of {', '.join(STANDARD_ARGUMENTS)}, so it was "
            f"asked for a reward function, and made a value of type {type(function).__name__}; "
            "write f(completions, **columns), or return such a function"
        )
    return function  # type: ignore[no-any-return]


def check_names(arguments: Iterable[str], names: Sequence[str], where: str) -> None:
    """Raise ConfigError if an argument is none of those that a function takes.

    Args:
        where: the section of the reward, for messages.
    """
    for argument in arguments:
        if argument not in names:
            guess = nearest(argument, names)
            meant = f"did you mean '{guess}'?" if guess else f"it takes {names or 'none'}"
            raise ConfigError(
                f"{where}.arguments.{argument}: the function has no such argument; {meant}"
            )
