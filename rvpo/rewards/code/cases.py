"""Tests of a program, as data sets write them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_FUNCTION: Final = ("fn_name", "func_name", "function_name", "entry_point")
_GIVEN: Final = ("input", "inputs")
_EXPECTED: Final = ("output", "outputs", "expected_output")
_NESTED: Final = ("test_cases", "tests", "testcases", "ground_truth")


@dataclass(frozen=True)
class Printed:
    """A text for standard input, and what is to be printed."""

    given: str
    expected: str


@dataclass(frozen=True)
class Called:
    """A call of a function, or of a method of the class `Solution`, and what it is to return."""

    function: str
    """Its name; empty where only the program can say, by what it defines last."""
    given: Sequence[Any]
    expected: Sequence[Any]
    """Values of which any is right: APPS puts some into a list of one."""


@dataclass(frozen=True)
class Written:
    """A test as code: assertions, functions `test…`, or classes of unittest."""

    code: str
    entry: str = ""
    """Function that is handed to the test's own `check`, as in HumanEval."""


Case = Printed | Called | Written


def cases_of(cell: Any, entry: str = "", setup: str = "") -> list[Case]:
    """The tests in a cell of a data set.

    These shapes are read, as values or as JSON or Python text: a list of assertions (MBPP) or other
    code; code (HumanEval, KodCode); `inputs` and `outputs`, with `fn_name` or without (APPS, TACO);
    a list of `{input, output}` (LiveCodeBench, whose functions' arguments are lines of JSON); any
    of these under `test_cases` (open-r1).

    Args:
        entry: function that tests written as code are about, where they want to be told.
        setup: code before each test that is code.

    Raises:
        ValueError: it has none of these shapes.
    """
    value = _parsed(cell)
    if isinstance(value, str):
        return [Written(f"{setup}\n{value}" if setup else value, entry)] if value.strip() else []
    if isinstance(value, Mapping):
        return _of_mapping(value, entry, setup)
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return [case for each in value for case in cases_of(each, entry, setup)]
    raise ValueError(f"a {type(value).__name__} holds no tests")


def _of_mapping(value: Mapping[str, Any], entry: str, setup: str) -> list[Case]:
    about = {**_mapping(_parsed(value.get("metadata"))), **value}
    named = str(next((about[key] for key in _FUNCTION if about.get(key)), "") or "")
    kind = str(value.get("type") or value.get("testtype") or "")
    function = named or None
    if "stdin" in kind:
        function = None
    elif "func" in kind:
        function = named or entry
    given = next((value[key] for key in _GIVEN if key in value), None)
    expected = next((value[key] for key in _EXPECTED if key in value), None)
    if given is None or expected is None:
        inner = next((value[key] for key in _NESTED if value.get(key)), None)
        if inner is None:
            raise ValueError(
                "tests have 'input' and 'output', 'inputs' and 'outputs', or code; these have "
                f"{', '.join(map(str, value)) or 'nothing'}"
            )
        return cases_of(inner, entry, setup)
    if "inputs" not in value:
        return [_case(function, given, expected)]
    given, expected = _parsed(given), _parsed(expected)
    if len(given) != len(expected):
        raise ValueError(f"{len(given)} inputs have {len(expected)} outputs")
    return [_case(function, each, right) for each, right in zip(given, expected, strict=True)]


def _case(function: str | None, given: Any, expected: Any) -> Case:
    if function is None:
        return Printed(_text(given), _text(expected))
    if isinstance(given, str):  # an argument a line
        given = [_parsed(line) for line in given.splitlines() if line.strip()]
    right = [expected, _parsed(expected)] if isinstance(expected, str) else [expected]
    if isinstance(expected, list | tuple) and len(expected) == 1:
        right.append(expected[0])
    return Called(function, list(given), right)


def _text(value: Any) -> str:
    """Lines that come as a list are lines."""
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value))
    return str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parsed(cell: Any) -> Any:
    """The value that a text of JSON or of Python's literals holds; anything else as it is."""
    if not isinstance(cell, str):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return cell
