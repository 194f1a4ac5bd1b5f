"""The process of the tests: it asks a program, which is another process, and says what passed.

    python -m rvpo.rewards.code.checking FROM TO SECONDS

A program is never believed more than an answer. Only the standard library is imported: this is
copied into the sandbox and run there, for tests come with data.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from typing import Any, Final

from rvpo.rewards.code import remote
from rvpo.rewards.code.naming import names_of
from rvpo.rewards.code.remote import Line, Remote
from rvpo.rewards.code.wire import MODULE, SOLUTION, GoneError, say

_CLOSE: Final = 1e-6
"""Relative and absolute distance at which two broken numbers count as equal."""


def check(answers: int, questions: int, patience_s: float) -> None:
    """Read tests from standard input, and write a line with the verdicts of each as they come."""
    tests = json.load(sys.stdin)
    verdicts = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with verdicts, os.fdopen(answers, "rb") as back, os.fdopen(questions, "wb", 0) as to:
        try:
            line: Line | None = Line(back, to, patience_s)
        except GoneError:
            line = None
        for test in tests:
            say(verdicts, _verdicts(test, line))


def _verdicts(test: dict[str, Any], line: Line | None) -> Any:
    """A list of True or False for each part of a test, or the text of why it cannot be run."""
    try:
        code = compile(test.get("code", ""), "test.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"the test is no Python: {error}"
    if line is None:
        return [False]
    line.fault = ""
    try:
        verdicts = [_called(test, line)] if "call" in test else _parts(test, code, line)
    except ImportError as error:
        verdicts = [False]
        if _is_of_tests(error):
            return f"the test needs what is not there: {error}"
    except BaseException:  # a failed test, whatever it raised
        verdicts = [False]
    return f"the test hands over what cannot leave it: {line.fault}" if line.fault else verdicts


def _entry(line: Line) -> str:
    """The function or class that a program defines last, behind its helpers; nothing where it
    defines none."""
    return line.defined[-1] if line.defined else ""


def _is_of_tests(error: ImportError) -> bool:
    """True where a test imports what this machine lacks, and the program has no part in it."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return last != remote.__file__ and error.name != SOLUTION


def _called(test: dict[str, Any], line: Line) -> bool:
    function, holder = test["call"] or _entry(line), Remote(line, MODULE)
    if not function:
        return False
    if function not in line.names and "Solution" in line.names:
        holder = holder.Solution()
    value = getattr(holder, function)(*test["given"])
    return any(_is(value, expected) for expected in test["expected"])


def _is(value: Any, expected: Any) -> bool:
    """Equality with a value of JSON: tuples are its lists, and texts its keys."""
    match value, expected:
        case list() | tuple(), list():
            return len(value) == len(expected) and all(map(_is, value, expected))
        case dict(), dict():
            named = {key if isinstance(key, str) else str(key): v for key, v in value.items()}
            return named.keys() == expected.keys() and all(
                _is(named[key], v) for key, v in expected.items()
            )
        case float(), float() | int():
            return math.isclose(value, expected, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return bool(value == expected)


def _parts(test: dict[str, Any], code: types.CodeType, line: Line) -> list[bool]:
    solution = Remote(line, MODULE)
    entry = test.get("entry", "")
    found = names_of(test["code"], entry, line.names)
    if found is None:
        return [False]
    module = types.ModuleType(SOLUTION)
    vars(module).update(__getattr__=solution.__getattr__, __all__=found.offered)
    sys.modules[SOLUTION] = module
    names: dict[str, Any] = {"__name__": "test", **found.modules}
    names |= {name: getattr(solution, name) for name in found.used}
    exec(code, names)
    if isinstance(names.get("check"), types.FunctionType):  # of the test, as in HumanEval
        entry = entry or (_entry(line) if names["check"].__code__.co_argcount == 1 else "")
        if not entry:
            return [False]
        names["check"](getattr(solution, entry))
    functions = [
        each
        for name, each in names.items()
        if name.startswith("test") and isinstance(each, types.FunctionType)
    ]
    parts = [_passes(each) for each in functions]
    if "unittest" in sys.modules:  # which takes longer to import than most tests to run
        parts += _of_classes(names.values())
    return parts or [True]


def _of_classes(values: Iterable[Any]) -> list[bool]:
    """The verdicts of unittest's test cases."""
    import unittest

    class Result(unittest.TestResult):
        def addError(self, test: Any, err: Any) -> None:
            if isinstance(err[1], ImportError) and _is_of_tests(err[1]):
                raise err[1]
            super().addError(test, err)

    parts: list[bool] = []
    for each in list(values):
        if isinstance(each, type) and issubclass(each, unittest.TestCase):
            result = Result()
            unittest.defaultTestLoader.loadTestsFromTestCase(each).run(result)
            bad = len(result.failures) + len(result.errors)
            parts += [False] * bad + [True] * (result.testsRun - bad)
    return parts


def _passes(function: Callable[[], Any]) -> bool:
    try:
        function()
    except ImportError as error:
        if _is_of_tests(error):
            raise
        return False
    except BaseException:  # a failed test, whatever it raised
        return False
    return True


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    check(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
