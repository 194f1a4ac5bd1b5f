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


class Calling:
    """Calls functions for an event loop: async ones in a loop of their own, for one that does not
    await holds up its loop, and others in threads of their own.

    A call that does not return in time is left behind in its thread, which Python cannot end.

    Args:
        at_once: calls that are waited for at the same time; the others wait for their turn, and
            their time begins with it.
        seconds: time that a call may take.
        most_hanging: see `MOST_HANGING`.
    """

    def __init__(self, at_once: int, seconds: float, most_hanging: int = MOST_HANGING) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._seconds = seconds
        self._most_hanging = most_hanging
        self._hanging = 0
        self._loop = EventLoop("async tools", EngineError)

    async def __call__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Any:
        """What the function returns, or the `Exception` that it raises; what would end Python is
        told as a `RuntimeError`.

        Args:
            then: what is made of the result, where the function ran and in its time.

        Raises:
            ToolFailed: it did not return in time, or too many others hang.
        """
        async with self._room:
            if self._hanging >= self._most_hanging:
                raise ToolFailed(
                    f"{self._hanging} calls of functions hang in threads, which Python cannot end, "
                    "and no further ones are made until some return"
                )
            if is_async(function):
                return await self._in_loop(function, arguments, then)
            return await self._in_thread(function, lambda: then(function(**arguments)))

    async def close(self) -> None:
        """End what async functions left in their loop. Calling it twice does no harm."""
        await asyncio.to_thread(self._loop.close)

    async def _in_thread(self, function: Callable[..., Any], work: Callable[[], Any]) -> Any:
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=_work, args=(work, result), name="tool", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no room for another
            raise ToolFailed(f"{name_of(function)} got no thread: {error}") from error
        try:
            await asyncio.wait({result}, timeout=self._seconds)
        finally:  # whoever waits may also be told to stop
            if not result.done():
                self._hanging += 1
                result.add_done_callback(self._returned)
        if not result.done():
            raise self._late(function)
        return result.result()

    def _returned(self, result: asyncio.Future[Any]) -> None:
        self._hanging -= 1
        if not result.cancelled():
            result.exception()  # which nobody waits for

    async def _in_loop(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        then: Callable[[Any], Any],
    ) -> Any:
        started = self._loop.start(_awaited(function, arguments, then))
        result = asyncio.wrap_future(started)
        try:
            await asyncio.wait({result}, timeout=self._seconds)
        finally:
            is_late = not result.done()
            started.cancel()
        if is_late:
            await self._leave_if_held_up()
            raise self._late(function)
        if result.cancelled():
            raise ToolFailed(f"the event loop of {name_of(function)} was ended by something in it")
        return result.result()

    async def _leave_if_held_up(self) -> None:
        heard = asyncio.wrap_future(self._loop.start(asyncio.sleep(0)))
        await asyncio.wait({heard}, timeout=_AWAKE_S)
        if not heard.done():
            self._hanging += 1
            heard.add_done_callback(self._returned)
            self._loop.leave()

    def _late(self, function: Callable[..., Any]) -> ToolFailed:
        return ToolFailed(f"{name_of(function)} did not return in {self._seconds:g} s")


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


def _work(work: Callable[[], Any], result: asyncio.Future[Any]) -> None:
    """Do it in a thread, and tell the loop of a future what came of it."""
    own_process = os.getpid()
    try:
        told = partial(_set, result, value=work())
    except BaseException as error:  # whatever it is, it belongs to who waits
        told = partial(_set, result, error=_harmless(error))
    if os.getpid() != own_process:  # it forked, and there are two of us
        os._exit(0)
    try:
        result.get_loop().call_soon_threadsafe(told)
    except RuntimeError:  # the loop was closed meanwhile
        return


def _set(result: asyncio.Future[Any], value: Any = None, error: Exception | None = None) -> None:
    if result.done():
        return
    if error is None:
        result.set_result(value)
    else:
        result.set_exception(error)


async def _awaited(
    function: Callable[..., Any], arguments: Mapping[str, Any], then: Callable[[Any], Any]
) -> Any:
    try:
        return then(await function(**arguments))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # we end it, not the function itself
            raise
        raise _harmless(error) from error
    except (SystemExit, KeyboardInterrupt) as error:  # which would end the loop
        raise _harmless(error) from error


def _harmless(error: BaseException) -> Exception:
    """An error that a future can hold: those that would end Python say so in words."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
