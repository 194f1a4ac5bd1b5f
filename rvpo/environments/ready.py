"""Tools that are ready to be named in settings: a calculator, and a table to look things up in."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from rvpo.errors import nearest

_LONGEST: Final = 300
"""Characters of an expression."""
_MOST_BITS: Final = 1024
"""Bits of a whole number on the way."""
_SIGNS: Final = str.maketrans({"×": "*", "÷": "/", "−": "-"})
_TWO: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ONE: Final[Mapping[type, Callable[[Any], Any]]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def calculator(expression: str) -> str:
    """Calculates the value of an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % ** and parentheses, such as "(17 + 5) * 3".

    Returns:
        The value, a fraction with at most 12 digits.
    """
    if len(expression) > _LONGEST:
        raise ValueError(f"the expression has more than {_LONGEST} characters")
    try:
        tree = ast.parse(expression.translate(_SIGNS).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{expression!r} is no arithmetic expression") from error
    value = _value(tree.body)
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _value(node: ast.expr) -> int | float:
    """The value of an expression, which is walked and never evaluated as code.

    Raises:
        ValueError: something in it is no arithmetic, or too large.
        ArithmeticError: it divides by zero.
    """
    found: Any
    match node:
        case ast.Constant(value=int() | float() as found) if not isinstance(found, bool):
            pass
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _ONE:
            found = _ONE[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _TWO:
            first, second = _value(left), _value(right)
            if isinstance(op, ast.Pow):
                _check_power(first, second)
            found = _TWO[type(op)](first, second)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is no arithmetic")
    if isinstance(found, complex):
        raise ValueError(f"{ast.unparse(node)!r} is no real number")
    if found.bit_length() > _MOST_BITS if isinstance(found, int) else not math.isfinite(found):
        raise ValueError("the numbers are too large")
    return found if isinstance(found, int) else float(found)


def _check_power(base: float, exponent: float) -> None:
    bits = base.bit_length() if isinstance(base, int) else 1
    if isinstance(base, int) and isinstance(exponent, int) and bits * exponent > _MOST_BITS:
        raise ValueError("the numbers are too large")


class LookUp:
    """A table of facts, for `environment: {name: python}`.

    Args:
        facts: texts or numbers by name, in every episode.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self._of_all = dict(facts or {})
        self.facts: dict[str, Any] = {}
        """Those of the episode."""
        self.asked: list[str] = []
        """Names that were looked up, in their order."""

    def reset(self, facts: Mapping[str, Any] | None = None) -> None:
        """Begin an episode.

        Args:
            facts: the column of the data, which adds to those of all episodes.
        """
        of_row = {name: fact for name, fact in (facts or {}).items() if fact is not None}
        self.facts = {_folded(name): fact for name, fact in {**self._of_all, **of_row}.items()}
        self.asked = []

    def look_up(self, name: str) -> str:
        """Looks up a fact.

        Args:
            name: The name under which it is found.

        Returns:
            The fact.
        """
        self.asked.append(name)
        if _folded(name) in self.facts:
            return str(self.facts[_folded(name)])
        close = nearest(_folded(name), list(self.facts))
        raise LookupError(f"nothing is known of {name!r}" + (f"; try {close!r}" if close else ""))


def _folded(name: str) -> str:
    return " ".join(str(name).casefold().split())
