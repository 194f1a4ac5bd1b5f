"""The side of the tests of what crosses: a program's objects, as the tests meet them.

A program is never believed more than an answer. Only the standard library is imported: this is
copied into the sandbox and run there, for tests come with data.
"""

from __future__ import annotations

import builtins
import json
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import IO, Any, Final

from rvpo.rewards.code.wire import (
    INSTANCE,
    KINDS,
    MODULE,
    OPERATOR,
    PLAIN,
    SETTER,
    SOLUTION,
    TRUTH,
    GoneError,
    Raisable,
    UnsendableError,
    decoded,
    encoded,
    say,
)

_LONGEST_LINE: Final = 2**22
_OF_DATA: Final = frozenset(
    name for kind in (*KINDS, list, dict, set, bytearray, range) for name in dir(kind)
)
"""Names that data can be asked for: where an object is asked for one, data could stand in its
place."""


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
        self._one = threading.Lock()
        self._classes: dict[int, type[BaseException]] = {}
        self._objects: dict[int, Any] = {}
        self._as_data: set[int] = set()
        self.is_gone = False
        """The program has ended, did not start or is not to be understood: no test that follows
        passes, whatever it catches."""
        self.is_lacking = False
        """The program lacks a name that a test uses, or has an object in the place of data that
        cannot be given what these can: the part of the test fails, whatever it catches."""
        self.fault = ""
        """Value that the tests handed over and that cannot cross; it is kept where they catch the
        error."""
        first = self._next()
        self.is_gone = "raised" in first
        self.names = _texts(first.get("names"))
        self.defined = _texts(first.get("defined"))

    def attribute(self, handle: int, name: str) -> Any:
        """An attribute of an object of the program's."""
        value = self._value(self._asked({"on": handle, "attribute": name}), ())
        if isinstance(value, Remote) and handle != MODULE and name in _OF_DATA:
            self._as_data.add(vars(value)["__handle"])
        return value

    def call(self, handle: int, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call an object of the program's; lists, dicts and sets that it changes are changed."""
        try:
            question = {"on": handle, "given": _sent(list(given)), "named": _sent(dict(named))}
        except UnsendableError as error:
            if handle in self._as_data:
                self.is_lacking = True
            else:
                self.fault = str(error)
            raise
        return self._value(self._asked(question), [*given, *named.values()])

    def _asked(self, question: Any) -> dict[str, Any]:
        with self._one:
            if self.is_gone:
                raise GoneError("the program was given up")
            try:
                say(self._questions, question)
            except OSError as error:
                raise self._gone("the program has ended") from error
            return self._next()

    def _next(self) -> dict[str, Any]:
        if not select.select([self._answers], [], [], self._patience_s)[0]:
            raise self._gone("the program does not answer")
        text = self._answers.readline(_LONGEST_LINE)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._gone("the program has ended") from error
        if not isinstance(answer, dict):
            raise self._gone("the program answered with something else")
        return answer

    def _gone(self, reason: str) -> GoneError:
        self.is_gone = True
        return GoneError(reason)

    def operate(self, name: str, *given: Any) -> Any:
        """Result that a function of the program's module `operator` makes of its objects."""
        return self.attribute(OPERATOR, name)(*given)

    def _value(self, answer: dict[str, Any], given: Sequence[Any]) -> Any:
        raised = value = None
        after: Any = []
        try:
            if "raised" in answer:
                raised = self._error(*answer["raised"])
            else:
                value = decoded(answer["value"], self._object)
                after = decoded(answer.get("given", ["list", []]), self._object)
        except (Exception, GoneError) as error:  # the program can answer anything
            raise self._gone("the program answered with something else") from error
        if raised is not None:
            raise raised
        for mine, theirs in zip(given, after, strict=False):
            _change(mine, theirs)
        return value

    def _object(self, handle: Any, known: Any = None) -> Any:
        """An object of the program's: where it is known what it is, something that is the same."""
        number = int(handle)
        if known is None:
            return self._objects.setdefault(number, Remote(self, number))
        if isinstance(known, Raisable):
            if number not in self._classes:
                self._classes[number] = _class(known)
            return self._classes[number]
        kind: Any = type(known)
        value = _derived(kind)(known)
        vars(value).update(__line=self, __handle=number)
        return value

    def _error(self, kind: Any, given: Any, text: Any, handle: Any) -> BaseException:
        """The exception that a program raised; one that would end the tests is its own end."""
        raised = decoded(kind, self._object)
        if not issubclass(raised, Exception | SystemExit):
            return self._gone(str(text))
        error: BaseException = raised.__new__(raised, *decoded(given, self._object))
        vars(error).update(__line=self, __handle=int(handle), __text=str(text))
        return error


def _texts(names: Any) -> list[str]:
    return [each for each in names if isinstance(each, str)] if isinstance(names, list) else []


def _attribute(value: Any, name: str) -> Any:
    """An attribute that data of the program's own types, or its exceptions, have beside Python's.

    What numpy would ask for, to read memory at an address, is not there.
    """
    if "__handle" not in vars(value) or name.startswith("__array"):
        raise AttributeError(name)
    return vars(value)["__line"].attribute(vars(value)["__handle"], name)


@cache
def _derived(kind: type) -> type:
    """A type of data whose values have the other attributes of an object of the program's."""
    if kind not in KINDS:
        raise GoneError(f"{kind.__name__} is no type of data that stay")
    return type(kind.__name__, (kind,), {"__module__": SOLUTION, "__getattr__": _attribute})


def _class(known: Raisable) -> type[BaseException]:
    """Python's own class of exceptions, or one that stands for a class of the program's.

    A class of the program's with a name of Python's is one of Python's too, for tests that know it
    by that name.
    """
    is_pythons = known.module.partition(".")[0] in sys.stdlib_module_names
    found = getattr(sys.modules.get(known.module), known.name, None) if is_pythons else None
    if isinstance(found, type) and issubclass(found, Exception) and not _skips(found):
        return found
    pythons = getattr(builtins, known.name, None)
    is_namesake = isinstance(pythons, type) and issubclass(pythons, BaseException)
    bases: Any = (pythons,) if is_namesake else known.bases
    members = {"__init__": _accept, "__str__": _text, "__getattr__": _attribute}
    return type(known.name, bases, {**members, "__module__": SOLUTION})


def _skips(kind: type) -> bool:
    """True of exceptions by which unittest leaves a test out: only a test is to do so."""
    return kind.__module__.partition(".")[0] == "unittest"


def _accept(self: BaseException, *given: Any, **named: Any) -> None:
    """Take any arguments, for the class that they are meant for is the program's."""


def _text(self: BaseException) -> str:
    return str(vars(self).get("__text", " ".join(map(str, self.args))))


class Remote:
    """An object of the program's. Lists, dicts and sets of its own types equal the data that they
    hold; other objects equal no data, whatever they say, and cannot be calculated with data. Two
    objects of the program's are compared and calculated with by the program, as it defines it."""

    def __init__(self, line: Line, handle: int) -> None:
        vars(self).update(__line=line, __handle=handle)

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)

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

    def __delitem__(self, key: Any) -> None:
        self.__getattr__("__delitem__")(key)

    def __next__(self) -> Any:
        return self.__getattr__("__next__")()

    def __enter__(self) -> Any:
        return self.__getattr__("__enter__")()

    def __exit__(self, kind: type[BaseException] | None, *of_tests: Any) -> None:
        """No program hides an error of its tests: what it returns is not looked at."""
        is_known = kind is None or kind.__module__ == "builtins"
        self.__getattr__("__exit__")(kind if is_known else Exception, None, None)

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

    def __repr__(self) -> str:
        return str(self.__getattr__("__repr__")())

    def __instancecheck__(self, instance: object) -> bool:
        is_ours = "__handle" in getattr(instance, "__dict__", {})
        return is_ours and bool(vars(self)["__line"].call(INSTANCE, (instance, self), {}))

    def __eq__(self, other: object) -> bool:
        line: Line = vars(self)["__line"]
        if isinstance(other, Remote):
            return vars(self) == vars(other) or bool(line.operate("eq", self, other))
        try:
            data = line.call(PLAIN, (self,), {})
        except TypeError:
            return False
        return type(data) in (list, dict, set, bytearray) and bool(data == other)

    def __hash__(self) -> int:
        return int(self.__getattr__("__hash__")())


def _operation(name: str) -> Callable[[Remote, object], Any]:
    def operate(self: Remote, other: object) -> Any:
        both = isinstance(other, Remote)
        return vars(self)["__line"].operate(name, self, other) if both else NotImplemented

    return operate


for _name in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "matmul"):
    setattr(Remote, f"__{_name}__", _operation(_name))


def _sent(value: Any) -> Any:
    def handle(value: Any) -> int:
        number = vars(value).get("__handle") if hasattr(value, "__dict__") else None
        if number is None:
            raise UnsendableError(f"{type(value).__name__} is no data")
        return int(number)

    return encoded(value, handle)


def _change(mine: Any, theirs: Any) -> None:
    """Give a collection of the tests what the program made of its copy."""
    match mine, theirs:
        case list(), list():
            mine[:] = theirs
        case (dict(), dict()) | (set(), set()):
            mine.clear()
            mine.update(theirs)
