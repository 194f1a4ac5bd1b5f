"""The process of the tests: it asks a program, which is another process, and says what passed.

    python -m rvpo.rewards.code.checking FROM TO SECONDS

A program is never believed more than an answer. Only the standard library is imported: this is
copied into the sandbox and run there, for tests come with data.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from rvpo.rewards.code import remote
from rvpo.rewards.code.finding import UnrunError, called_by, functions_of, has_tests, judges
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
        tree = ast.parse(test.get("code", ""), "test.py")
        compile(tree, "test.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"the test is no Python: {error}"
    if line is None:
        return [False]
    line.fault, line.is_lacking = "", False
    try:
        if "call" in test:
            verdicts = [_passes(partial(_called, test, line), line)]
        else:
            verdicts = _parts(test, tree, line)
    except UnrunError as error:
        return f"the test {error}"
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
    is_programs = "__handle" in vars(error) or error.name == SOLUTION or last == remote.__file__
    return not is_programs and (bool(error.name) or last != "test.py")


def _called(test: dict[str, Any], line: Line) -> bool:
    function, holder = test["call"] or _entry(line), Remote(line, MODULE)
    if not function:
        return False
    is_method = function in line.defined or function not in line.names
    if "Solution" in line.names and is_method and "." not in function:
        holder = holder.Solution()
    value = _at(holder, function)(*test["given"])
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


class _Namespace(dict[str, Any]):
    """The names of a test. One that nobody has fails the part that uses it, whatever it catches."""

    def __init__(self, line: Line, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._line = line

    def __missing__(self, name: str) -> Any:
        if not hasattr(builtins, name):
            self._line.is_lacking = True
        raise KeyError(name)


def _parts(test: dict[str, Any], tree: ast.Module, line: Line) -> list[bool]:
    solution = Remote(line, MODULE)
    entry = test.get("entry", "")
    found = names_of(test["code"], entry, line.names)
    if found is None:
        return [False]
    module = types.ModuleType(SOLUTION)
    vars(module).update(__getattr__=solution.__getattr__, __all__=found.offered)
    sys.modules[SOLUTION] = module
    as_main = not (has_tests(tree) or judges(tree, as_main=False))
    names = _Namespace(line, {"__name__": "__main__" if as_main else "test", **found.modules})
    names |= {name: getattr(solution, name) for name in found.used}
    code = compile(tree, "test.py", "exec", dont_inherit=True)
    if not _passes(partial(exec, code, names), line):
        return [False]
    called = called_by(tree)
    parts = [_passes(each, line) for each in functions_of(names, called)]
    if "unittest" in sys.modules:  # which takes longer to import than most tests to run
        parts += _of_classes(names.values(), line)
    check = names.get("check")
    if isinstance(check, types.FunctionType) and "check" not in called:  # as in HumanEval
        parts.append(_passes(partial(_checked, check, solution, entry or _entry(line)), line))
    if not (parts or judges(tree, as_main=as_main)):
        raise UnrunError("holds no test that is run")
    return parts or [True]


def _checked(check: types.FunctionType, solution: Remote, entry: str) -> Any:
    """Call the `check` of a test with the function that it is about."""
    return check(_at(solution, entry)) if check.__code__.co_argcount else check()


def _at(solution: Remote, path: str) -> Any:
    """Value that a program has at a path such as `f`, or `Solution().f` in LeetCodeDataset."""
    value: Any = solution
    for step in path.split("."):
        value = getattr(value, step.removesuffix("()"))
        value = value() if step.endswith("()") else value
    return value


def _of_classes(values: Iterable[Any], line: Line) -> list[bool]:
    """The verdicts of unittest's test cases; none of those that a test leaves out."""
    import unittest

    class Result(unittest.TestResult):
        passed = 0

        def addError(self, test: Any, err: Any) -> None:
            if isinstance(err[1], ImportError) and _is_of_tests(err[1]):
                raise err[1]
            super().addError(test, err)

        def startTest(self, test: Any) -> None:
            super().startTest(test)
            line.is_lacking = False

        def addSuccess(self, test: Any) -> None:
            self.passed += not (line.is_gone or line.is_lacking)

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            self.addSuccess(test)

    parts: list[bool] = []
    for each in list(values):
        if isinstance(each, type) and issubclass(each, unittest.TestCase):
            result = Result()
            unittest.defaultTestLoader.loadTestsFromTestCase(each).run(result)
            bad = result.testsRun - result.passed - len(result.skipped)
            is_bad = bool(result.failures or result.errors)  # also those outside of any test
            parts += [False] * max(bad, is_bad) + [True] * result.passed
    return parts


def _passes(part: Callable[[], Any], line: Line) -> bool:
    """True where a part raises nothing and the program is there at its end."""
    line.is_lacking = False
    try:
        verdict = part()
    except ImportError as error:
        if _is_of_tests(error):
            raise
        return False
    except BaseException:  # a failed test, whatever it raised
        return False
    return verdict is not False and not (line.is_gone or line.is_lacking)


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    check(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
