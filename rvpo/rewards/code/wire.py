"""Values as they cross from the process of a program to that of its tests, and back.

What crosses is data: numbers, texts and collections of them. Other objects stay where they are, and
the other side has a handle on them. So a program can hand its tests no object that equals
everything. A number, text or tuple of a type of the program's own crosses as the data that it is,
with a handle for the rest of it; a class of exceptions crosses with its name and bases. Only the
standard library is imported: this is copied into the sandbox and run there.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import IO, Any, Final, NamedTuple

SOLUTION: Final = "solution"
"""Name under which tests can import the program."""
SOLUTION_FILE: Final = "solution.py"
MODULE: Final = 0
"""Handle of the program's module."""
TRUTH: Final = 1
"""Handle of its `bool`."""
SETTER: Final = 2
"""Handle of its `setattr`."""
PLAIN: Final = 3
"""Handle of a function that gives a list, dict or set of an own type as Python's."""
INSTANCE: Final = 4
"""Handle of its `isinstance`."""
OPERATOR: Final = 5
"""Handle of its module `operator`."""
KINDS: Final = (int, float, complex, str, bytes, tuple, frozenset, Decimal, Fraction)
"""Types of data that do not change."""


class Raisable(NamedTuple):
    """A class of exceptions."""

    module: str
    name: str
    bases: tuple[type[BaseException], ...]


class UnsendableError(TypeError):
    """A value that cannot cross, such as a function of the tests."""


class GoneError(BaseException):
    """A program that ended, or that answers what cannot be read. No test can expect it: it is none
    of the errors that a function raises."""


def encoded(value: Any, handle: Callable[[Any], Any]) -> Any:
    """A value as JSON.

    Args:
        handle: makes something of an object that is no data.
    """
    if type(value).__module__ != SOLUTION or isinstance(value, BaseException):
        return _encoded(value, handle)
    if isinstance(value, KINDS):
        return ["own", [handle(value), _encoded(value, handle)]]
    return ["handle", handle(value)]


def _encoded(value: Any, handle: Callable[[Any], Any]) -> Any:
    match value:
        case None | bool():
            return value
        case slice():
            parts = (value.start, value.stop, value.step)
            return ["slice", [encoded(each, handle) for each in parts]]
        case Integral():
            return int(value)
        case Decimal():
            return ["decimal", str(value)]
        case Fraction():
            return ["fraction", str(value)]
        case Real():
            return float(value)
        case str():
            return str(value)
        case bytes() | bytearray():
            return [type(value).__name__, bytes(value).decode("latin-1")]
        case complex():
            return ["complex", [value.real, value.imag]]
        case list() | tuple() | set() | frozenset():
            name = next(n for n, kind in _COLLECTIONS.items() if isinstance(value, kind))
            return [name, [encoded(each, handle) for each in value]]
        case dict():
            pairs = [[encoded(k, handle), encoded(v, handle)] for k, v in value.items()]
            return ["dict", pairs]
        case _ if hasattr(value, "dtype") and hasattr(value, "tolist"):  # of numpy
            return encoded(value.tolist(), handle)
        case type() if issubclass(value, BaseException):
            is_pythons = value.__module__ == "builtins"
            bases = [each for each in value.__bases__ if issubclass(each, BaseException)]
            above = [] if is_pythons else [encoded(each, handle) for each in bases]
            number = None if is_pythons else handle(value)
            return ["exception", [number, value.__module__, value.__name__, above]]
        case _:
            return ["handle", handle(value)]


_COLLECTIONS: Final[Mapping[str, type]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def decoded(text: Any, object_of: Callable[..., Any]) -> Any:
    """The value of `encoded`. Raises whatever a text that is not of that form leads to.

    Args:
        object_of: gives the object of a handle, and of what else is known of it: the data that it
            is, or a `Raisable`.
    """
    if not isinstance(text, list):
        return text
    name, held = text
    match name:
        case "list" | "tuple" | "set" | "frozenset":
            return _COLLECTIONS[name](decoded(each, object_of) for each in held)
        case "dict":
            return {decoded(k, object_of): decoded(v, object_of) for k, v in held}
        case "bytes" | "bytearray":
            return (bytes if name == "bytes" else bytearray)(held.encode("latin-1"))
        case "slice":
            return slice(*(decoded(each, object_of) for each in held))
        case "complex":
            return complex(*held)
        case "decimal":
            return Decimal(held)
        case "fraction":
            return Fraction(held)
        case "handle":
            return object_of(held)
        case "own":
            return object_of(held[0], decoded(held[1], object_of))
        case "exception":
            number, module, own_name, above = held
            if number is None:
                return raisable(own_name)
            bases = tuple(decoded(each, object_of) for each in above)
            return object_of(number, Raisable(module, own_name, bases))
    raise GoneError(f"{name} is no kind of value")


def raisable(name: Any) -> type[BaseException]:
    """The class of exceptions that Python knows by a name."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind
    raise GoneError(f"{name} is no exception of Python's")


def say(to: IO[bytes], message: Any) -> None:
    """Write a message, which takes a line."""
    to.write(json.dumps(message).encode() + b"\n")
