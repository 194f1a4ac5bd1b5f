"""Values as they cross from the process of a program to that of its tests, and back.

What crosses is data: numbers, texts and collections of them. Other objects stay where they are, and
the other side has a handle on them. So a program can hand its tests no object that equals
everything. Only the standard library is imported: this is copied into the sandbox and run there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import IO, Any, Final

SOLUTION: Final = "solution"
"""Name under which tests can import the program."""
SOLUTION_FILE: Final = "solution.py"
MODULE: Final = 0
"""Handle of the program's module."""
TRUTH: Final = 1
"""Handle of its `bool`."""
SETTER: Final = 2
"""Handle of its `setattr`."""


class UnsendableError(TypeError):
    """A value that cannot cross, such as a function of the tests."""


class GoneError(RuntimeError):
    """A program that ended, or that answers what cannot be read."""


def encoded(value: Any, handle: Callable[[Any], Any]) -> Any:
    """A value as JSON; values of derived types become those of the type that they derive from.

    Args:
        handle: makes something of an object that is no data.
    """
    match value:
        case None | bool():
            return value
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
        case _:
            return ["handle", handle(value)]


_COLLECTIONS: Final[Mapping[str, type]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def decoded(text: Any, object_of: Callable[[Any], Any]) -> Any:
    """The value of `encoded`. Raises whatever a text that is not of that form leads to.

    Args:
        object_of: gives the object of a handle.
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
        case "complex":
            return complex(*held)
        case "decimal":
            return Decimal(held)
        case "fraction":
            return Fraction(held)
        case "handle":
            return object_of(held)
    raise GoneError(f"{name} is no kind of value")


def say(to: IO[bytes], message: Any) -> None:
    """Write a message, which takes a line."""
    to.write(json.dumps(message).encode() + b"\n")
