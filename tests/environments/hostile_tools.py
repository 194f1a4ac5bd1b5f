"""Functions that do to a run what tools of others may do, one kind each."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
from typing import Any, Literal, TypedDict

from rvpo.environments import ToolFailed

RELEASE = threading.Event()
"""Ends what hangs, when a test is over."""


def hangs() -> str:
    """Never returns."""
    RELEASE.wait(60)
    return "late"


async def awaits_for_ever() -> str:
    """Never returns, and lets others go on."""
    await asyncio.sleep(60)
    return "late"


async def holds_up_the_loop() -> str:
    """Never returns, and lets no others go on."""
    RELEASE.wait(60)
    return "late"


async def ignores_its_end() -> str:
    """Does not return when it is told to."""
    while not RELEASE.is_set():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return "late"


def leaves_python() -> str:
    """Ends Python."""
    sys.exit(3)


async def leaves_python_async() -> str:
    """Ends Python, in a loop."""
    raise SystemExit(3)


def interrupts() -> str:
    """Looks like Ctrl-C."""
    raise KeyboardInterrupt


async def interrupts_async() -> str:
    """Looks like Ctrl-C, in a loop."""
    raise KeyboardInterrupt


def ends_iteration() -> str:
    """Raises what no future can hold."""
    raise StopIteration("out")


async def cancels_itself() -> str:
    """Raises what looks as if it were told to end."""
    raise asyncio.CancelledError


class Odd(BaseException):
    pass


def raises_odd() -> str:
    """Raises what is no Exception."""
    raise Odd("odd")


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words for you")


def no_words() -> str:
    """Raises what raises when it is read."""
    raise Wordless


async def no_words_async() -> str:
    """Raises what raises when it is read, in a loop."""
    raise Wordless


def times_out() -> str:
    """Raises what looks like a deadline."""
    raise TimeoutError("the server took too long")


def floods() -> str:
    """Prints a lot."""
    for _ in range(2000):
        print("x" * 500)
    return "flooded"


def forks() -> str:
    """Makes a second process of the run."""
    os.fork()
    return "forked"


def huge() -> str:
    """Returns more than anybody reads."""
    return "y" * 5_000_000


def half_a_character() -> str:
    """Returns what has no tokens."""
    return "a\ud800b"


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def unreadable() -> Any:
    """Returns what raises when it is read."""
    return Unreadable()


class Slow:
    def __str__(self) -> str:
        RELEASE.wait(60)
        return "late"


def slow_to_read() -> Any:
    """Returns what hangs when it is read."""
    return Slow()


def of_no_type() -> Any:
    """Returns a set."""
    return {1}


def image() -> Any:
    """Returns a picture."""
    return [{"type": "image", "image": b""}, {"type": "text", "text": "see"}]


def parts() -> Any:
    """Returns parts of text."""
    return [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]


async def _inner() -> str:
    return "never"


def forgets_to_await() -> Any:
    """Returns a coroutine."""
    return _inner()


def makes_a_generator() -> Any:
    """Returns a generator."""
    return (number for number in range(3))


class Later:
    def __await__(self) -> Any:
        yield


def gives_an_awaitable() -> Any:
    """Returns what is awaited, and is no coroutine."""
    return Later()


def changes_what_it_is_given(values: list[int], table: dict[str, Any]) -> str:
    """Puts into its arguments what is no JSON.

    Args:
        values: Some.
        table: Some.
    """
    values.clear()
    table["own"] = object()
    return "done"


def is_down() -> str:
    """Says that it does not work."""
    raise ToolFailed("the search engine is down")


class SlowError(Exception):
    def __str__(self) -> str:
        RELEASE.wait(60)
        return "late"


def slow_to_tell() -> Any:
    """Raises what hangs when it is read."""
    raise SlowError


def sleeps(seconds: float) -> float:
    """Returns after a while.

    Args:
        seconds: Its length.
    """
    time.sleep(seconds)
    return seconds


def gives_key(question: str, key: str) -> str:
    """Tells what it should not.

    Args:
        question: Anything.
        key: Of the server.
    """
    if question == "raise":
        raise ValueError(f"bad key {key}")
    if question == "fail":
        raise ToolFailed(f"401 for {key}")
    return f"asked with {key}"


def optional(city: str, unit: str = "C", *, days: int = 1) -> str:
    """Weather.

    Args:
        city: A city.
        unit: C or F.
        days: Days ahead.
    """
    return f"{city} {unit} {days}"


in_fahrenheit = partial(optional, unit="F")


def no_docstring(a: int) -> int:
    return a


def no_hint(a) -> int:  # type: ignore[no-untyped-def]
    """Doc.

    Args:
        a: It.
    """
    return 1


def no_line(a: int) -> int:
    """Doc without its argument."""
    return a


def unresolved(a: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
    """Doc.

    Args:
        a: It.
    """
    return 1


def all_of_them(*numbers: int) -> int:
    """Doc.

    Args:
        numbers: Them.
    """
    return 1


def anything(**given: int) -> int:
    """Doc.

    Args:
        given: Them.
    """
    return 1


def by_place(a: int, /) -> int:
    """Doc.

    Args:
        a: It.
    """
    return a


def yields(a: int) -> Any:
    """Doc.

    Args:
        a: It.
    """
    yield a


class Unit(Enum):
    CELSIUS = "C"


@dataclass
class Place:
    name: str


def takes_an_enum(unit: Unit) -> str:
    """Doc.

    Args:
        unit: It.
    """
    return unit.value


def takes_objects(places: list[Place] | None = None) -> str:
    """Doc.

    Args:
        places: Them.
    """
    return places[0].name if places else ""


def takes_bytes(data: bytes) -> int:
    """Doc.

    Args:
        data: It.
    """
    return len(data)


class Span(TypedDict):
    start: int


def takes_json(
    kind: Literal["a", "b"],
    number: float | None,
    rows: list[dict[str, Any]],
    span: Span,
    *,
    anything: Any = None,
    names: Collection = (),  # type: ignore[type-arg]
) -> str:
    """Doc.

    Args:
        kind: It.
        number: It.
        rows: Them.
        span: It.
        anything: It.
        names: Them.
    """
    return f"{kind} {number} {rows} {span} {anything} {names}"


class AClass:
    """Doc."""

    def __call__(self, a: int) -> int:
        """Doc.

        Args:
            a: It.
        """
        return a

    def method(self, a: int) -> int:
        """Doc.

        Args:
            a: It.
        """
        return a + 1


an_object = AClass()
method = an_object.method
nameless = lambda a: a  # noqa: E731


def _decorated(function: Any) -> Any:
    @wraps(function)
    def around(**given: Any) -> Any:
        return function(**given)

    return around


@_decorated
def decorated(a: int) -> int:
    """Doc.

    Args:
        a: It.
    """
    return a + 2
