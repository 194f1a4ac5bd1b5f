"""Calls of functions that others wrote, beside generation, each with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from rvpo.environments.environment import ToolFailed
from rvpo.errors import EngineError
from rvpo.runtime.event_loop import EventLoop

MOST_HANGING: Final = 256
"""Calls left behind at the same time, each with its thread, at which no further ones are made."""
_AWAKE_S: Final = 1.0
"""Seconds in which an event loop that nothing holds up is heard."""


class Raised(Exception):
    """A function raised.

    Args:
        kind: name of the error's type.
        said: its text, as far as that can be read.
    """

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(f"{kind}: {said}" if said else kind)
        self.kind = kind
        self.said = said


class Calling:
    """Calls functions for an event loop: async ones in a loop of their own, for one that does not
    await holds up its loop, and others in threads of their own.

    A call that does not return in time is left behind in its thread, which Python cannot end.

    Args:
        most_hanging: see `MOST_HANGING`.
    """

    def __init__(self, most_hanging: int = MOST_HANGING) -> None:
        self._most_hanging = most_hanging
        self._hanging = 0
        self._loop = EventLoop("async tools", EngineError)

    async def __call__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        seconds: float,
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Any:
        """The result of the function.

        Args:
            seconds: time that it may take.
            then: makes something else of the result, where the function ran and in its time.

        Raises:
            Raised: it raised anything, be it what would end Python.
            ToolFailed: it raised that, or did not return in time; or too many others hang.
        """
        if self._hanging >= self._most_hanging:
            raise ToolFailed(
                f"{self._hanging} calls of functions hang in threads, which Python cannot end, and "
                "no further ones are made until some return"
            )
        run = self._in_loop if is_async(function) else self._in_thread
        found = await run(function, arguments, seconds, then)
        if isinstance(found, Exception):
            raise found
        (result,) = found
        return result

    async def close(self) -> None:
        """End what async functions left in their loop. Calling it twice does no harm."""
        await asyncio.to_thread(self._loop.close)

    async def _in_thread(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        seconds: float,
        then: Callable[[Any], Any],
    ) -> _Outcome:
        found: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        work = partial(_work, function, arguments, then, found)
        try:
            threading.Thread(target=work, name="tool", daemon=True).start()
        except RuntimeError as error:  # the machine has no room for another
            return ToolFailed(f"{name_of(function)} got no thread: {error}")
        try:
            await asyncio.wait({found}, timeout=seconds)
        finally:  # who waits may also be told to stop
            if not found.done():
                self._hanging += 1
                found.add_done_callback(self._returned)
        return found.result() if found.done() else _late(function)

    async def _in_loop(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        seconds: float,
        then: Callable[[Any], Any],
    ) -> _Outcome:
        started = self._loop.start(_awaited(function, arguments, then))
        found = asyncio.wrap_future(started)
        try:
            await asyncio.wait({found}, timeout=seconds)
        finally:
            is_late = not found.done()
            started.cancel()
        if is_late:
            await self._leave_if_held_up()
            return _late(function)
        if found.cancelled():
            return ToolFailed(f"the event loop of {name_of(function)} was ended by something in it")
        return found.result()

    async def _leave_if_held_up(self) -> None:
        heard = asyncio.wrap_future(self._loop.start(asyncio.sleep(0)))
        await asyncio.wait({heard}, timeout=_AWAKE_S)
        if not heard.done():
            self._hanging += 1
            heard.add_done_callback(self._returned)
            self._loop.leave()

    def _returned(self, found: asyncio.Future[Any]) -> None:
        self._hanging -= 1


_Outcome = tuple[Any] | Raised | ToolFailed
"""End of a call: its result alone in a tuple, or the reason that there is none."""


def is_async(function: Callable[..., Any]) -> bool:
    """True of a coroutine function, be it with arguments filled in by `partial`."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function)


def name_of(function: Callable[..., Any]) -> str:
    """Name of a function in messages, with its class where it is a method."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__).rpartition(">.")[2]


def outcome_of(error: BaseException) -> Raised | ToolFailed:
    """An error by its text, which is read where the function ran: it is code of others too."""
    try:
        said = str(error)
    except Exception:  # the same code
        said = ""
    return ToolFailed(said) if isinstance(error, ToolFailed) else Raised(type(error).__name__, said)


def _work(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    then: Callable[[Any], Any],
    found: asyncio.Future[_Outcome],
) -> None:
    """Call it in a thread, and tell the loop of a future what came of it."""
    own_process = os.getpid()
    outcome: _Outcome
    try:
        outcome = (then(function(**arguments)),)
    except BaseException as error:  # whatever it is, it belongs to who waits
        outcome = outcome_of(error)
    if os.getpid() != own_process:  # it forked, and there are two of us
        os._exit(0)
    try:
        found.get_loop().call_soon_threadsafe(_tell, found, outcome)
    except RuntimeError:  # the loop was closed meanwhile
        return


def _tell(found: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not found.done():
        found.set_result(outcome)


async def _awaited(
    function: Callable[..., Any], arguments: Mapping[str, Any], then: Callable[[Any], Any]
) -> _Outcome:
    own_process = os.getpid()
    outcome: _Outcome
    try:
        outcome = (then(await function(**arguments)),)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # we end it, not the function itself
            raise
        outcome = outcome_of(error)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # two of which would end the loop
        outcome = outcome_of(error)
    if os.getpid() != own_process:
        os._exit(0)
    return outcome


def _late(function: Callable[..., Any]) -> ToolFailed:
    return ToolFailed(f"{name_of(function)} did not return in time")
