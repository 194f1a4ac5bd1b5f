"""The process of the tests: it asks a program, which is another process, and says what passed.

    python -m rvpo.rewards.code.checking FROM TO SECONDS

A program is never believed more than an answer. Only the standard library is imported: this is
copied into the sandbox and run there, for tests come with data.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import math
import os
import select
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from rvpo.rewards.code.wire import (
    MODULE,
    SETTER,
    SOLUTION,
    TRUTH,
    GoneError,
    UnsendableError,
    decoded,
    encoded,
    say,
)

_LONGEST_LINE: Final = 2**22
_CLOSE: Final = 1e-6
"""Relative and absolute distance at which two broken numbers count as equal."""


class Line:
    """The connection to a program; it is never trusted to answer well.

    Args:
        answers: they are read here.
        questions: they are written here.
        patience_s: longest time that an answer may take.
    """

    def __init__(self, answers: IO[bytes], questions: IO[bytes], patience_s: float) -> None:
        self._answers = answers
        self._questions = questions
        self._patience_s = patience_s
        self._is_gone = False
        names = self._next().get("names")
        self.names: list[str] = names if isinstance(names, list) else []

    def attribute(self, handle: int, name: str) -> Any:
        """An attribute of an object of the program's."""
        return self._value(self._asked({"on": handle, "attribute": name}), ())

    def call(self, handle: int, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call an object of the program's; lists, dicts and sets that it changes are changed."""
        question = {"on": handle, "given": _sent(list(given)), "named": _sent(dict(named))}
        return self._value(self._asked(question), given)

    def _asked(self, question: Any) -> dict[str, Any]:
        if self._is_gone:
            raise GoneError("the program was given up")
        try:
            say(self._questions, question)
        except OSError as error:
            raise GoneError("the program has ended") from error
        return self._next()

    def _next(self) -> dict[str, Any]:
        if not select.select([self._answers], [], [], self._patience_s)[0]:
            self._is_gone = True
            raise GoneError("the program does not answer")
        text = self._answers.readline(_LONGEST_LINE)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError, MemoryError) as error:
            raise GoneError("the program has ended") from error
        if not isinstance(answer, dict):
            raise GoneError("the program answered with something else")
        return answer

    def _value(self, answer: dict[str, Any], given: Sequence[Any]) -> Any:
        try:
            if "raised" in answer:
                names, text = answer["raised"]
                raised = _exception(list(map(str, names)), str(text))
            else:
                raised = None
                value = decoded(answer["value"], self._remote)
                after = decoded(answer.get("given", ["list", []]), self._remote)
        except Exception as error:  # the program can answer anything
            raise GoneError("the program answered with something else") from error
        if raised is not None:
            raise raised
        for mine, theirs in zip(given, after, strict=False):
            _change(mine, theirs)
        return value

    def _remote(self, handle: Any) -> Remote:
        return Remote(self, int(handle))


class Remote:
    """An object of the program's. It equals no data, whatever it says, and cannot be calculated or
    compared with: the result would be the program's own word."""

    def __init__(self, line: Line, handle: int) -> None:
        vars(self).update(__line=line, __handle=handle)

    def __getattr__(self, name: str) -> Any:
        return vars(self)["__line"].attribute(vars(self)["__handle"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["__line"].call(SETTER, (self, name, value), {})

    def __call__(self, *given: Any, **named: Any) -> Any:
        return vars(self)["__line"].call(vars(self)["__handle"], given, named)

    def __len__(self) -> int:
        try:
            length = self.__getattr__("__len__")
        except AttributeError as error:  # as Python says it
            raise TypeError("the object has no len()") from error
        return int(length())

    def __getitem__(self, key: Any) -> Any:
        return self.__getattr__("__getitem__")(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__getattr__("__setitem__")(key, value)

    def __iter__(self) -> Iterator[Any]:
        following = self.__getattr__("__iter__")()
        while True:
            try:
                yield following.__next__()
            except StopIteration:
                return

    def __bool__(self) -> bool:
        return bool(vars(self)["__line"].call(TRUTH, (self,), {}))

    def __str__(self) -> str:
        return str(self.__getattr__("__str__")())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        if vars(self) == vars(other):
            return True
        raise UnsendableError("two objects of the program, whose equality is its own word")

    __hash__ = object.__hash__


def _sent(value: Any) -> Any:
    def handle(value: Any) -> int:
        if isinstance(value, Remote):
            return int(vars(value)["__handle"])
        raise UnsendableError(f"{type(value).__name__} is no data")

    return encoded(value, handle)


def _change(mine: Any, theirs: Any) -> None:
    """Give a collection of the tests what the program made of its copy."""
    match mine, theirs:
        case list(), list():
            mine[:] = theirs
        case (dict(), dict()) | (set(), set()):
            mine.clear()
            mine.update(theirs)


def _exception(names: list[str], text: str) -> Exception:
    """The nearest of Python's own exceptions; none that would end the tests."""
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            error = kind.__new__(kind)
            error.args = (text,)
            return error
    return RuntimeError(text)


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
    try:
        if "call" in test:
            return [_called(test, line)]
        return _parts(test, code, line)
    except UnsendableError as error:
        return f"the test hands over what cannot leave it: {error}"
    except ImportError as error:
        own = traceback.extract_tb(error.__traceback__)[-1].filename != __file__
        return f"the test needs what is not there: {error}" if own else [False]
    except BaseException:  # a failed test, whatever it raised
        return [False]


def _called(test: dict[str, Any], line: Line) -> bool:
    function, holder = test["call"], Remote(line, MODULE)
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
    module = types.ModuleType(SOLUTION)
    # A name of Python's own means what it always does: a program is not to bring another `len`.
    offered = [name for name in line.names if not hasattr(builtins, name)]
    vars(module).update(__getattr__=solution.__getattr__, __all__=offered)
    sys.modules[SOLUTION] = module
    used = {n.id for n in ast.walk(ast.parse(test["code"])) if isinstance(n, ast.Name)}
    names: dict[str, Any] = {"__name__": "test"}
    for name in used.intersection(offered):
        is_pythons = name in sys.stdlib_module_names
        names[name] = importlib.import_module(name) if is_pythons else getattr(solution, name)
    exec(code, names)
    if test.get("entry"):
        names["check"](getattr(solution, test["entry"]))
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

    parts: list[bool] = []
    for each in list(values):
        if isinstance(each, type) and issubclass(each, unittest.TestCase):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(each).run(result)
            bad = len(result.failures) + len(result.errors)
            parts += [False] * bad + [True] * (result.testsRun - bad)
    return parts


def _passes(function: Callable[[], Any]) -> bool:
    try:
        function()
    except UnsendableError:
        raise
    except BaseException:  # a failed test, whatever it raised
        return False
    return True


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    check(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
