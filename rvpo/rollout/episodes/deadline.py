"""Code of others, with a deadline: whatever it does, it is over by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from rvpo.environments import ToolFailed

T = TypeVar("T")

_LONGEST: Final = 1000
"""Characters of an error that are kept, with each score that is missing for it."""


class WorldBroken(Exception):
    """A world failed its episode; the reason, in words."""


async def within(
    seconds: float, work: Callable[[], Awaitable[T]], doing: str, grace: float = 0.0
) -> T:
    """The result of the work. One that does not end in time is told to, and not waited for: code
    that will not be cancelled holds up nobody.

    Args:
        seconds: time that it has, as the settings say.
        doing: name of the work, for messages, such as "answer a turn".
        grace: seconds that it may take longer, of which nobody is told.

    Raises:
        ToolFailed: as the work says.
        WorldBroken: it raised anything else, those errors included that would end Python, or did
            not end in time.
    """
    task = asyncio.ensure_future(_contained(work))
    task.add_done_callback(_read)
    try:
        await asyncio.wait({task}, timeout=seconds + grace)
    finally:
        task.cancel()
    if not task.done():
        raise WorldBroken(f"did not {doing} in {seconds:g} s")
    if task.cancelled():
        raise WorldBroken(f"did not {doing}: it was cancelled")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, ToolFailed):
        raise ToolFailed(in_words(error)) from error
    if isinstance(error, WorldBroken):
        raise error
    raise WorldBroken(in_words(error)) from error


def in_words(error: BaseException) -> str:
    """An error of code of others, which may fail at telling of itself."""
    name = type(error).__name__
    try:
        told = _shown(str(error))
    except Exception:  # the same code
        return name
    return told if isinstance(error, ToolFailed) and told else f"{name}: {told}" if told else name


def _shown(text: str) -> str:
    """A text in one line that terminals, files and trackers take, and not too long: without halves
    of characters, and without what would move a cursor."""
    words = "".join(c if c.isprintable() else " " for c in text[: 2 * _LONGEST]).split()
    line = " ".join(words)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 4] + " ..."


async def _contained(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:  # which a task hands on to its event loop
        raise WorldBroken(in_words(error)) from error


def _read(task: asyncio.Future[T]) -> None:
    """Take note of an error that came too late, of which asyncio would complain."""
    if not task.cancelled():
        task.exception()
