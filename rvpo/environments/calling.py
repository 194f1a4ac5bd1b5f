"""Calls of functions that others wrote, beside generation, each with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from rvpo.environments.environment import ToolFailed


class Calling:
    """Calls functions from an event loop: async ones in it, others in threads of their own.

    A function that does not return in time is left behind in its thread, which Python cannot end;
    another one takes its place.

    Args:
        at_once: threads that are waited for at the same time.
        seconds: time that a call may take.
    """

    def __init__(self, at_once: int, seconds: float) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._seconds = seconds

    async def __call__(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """What the function returns, or raises.

        Raises:
            ToolFailed: it did not return in time.
        """
        async with self._room:
            try:
                return await asyncio.wait_for(_called(function, arguments), self._seconds)
            except TimeoutError as error:
                name = getattr(function, "__name__", type(function).__name__)
                raise ToolFailed(f"{name} did not return in {self._seconds:g} s") from error


async def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    def tell(set_result: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            set_result(value)

    def work() -> None:
        try:
            told = result.set_result, function(**arguments)
        except BaseException as error:  # whatever it is, it belongs to who waits
            told = result.set_exception, _told(error)
        try:
            loop.call_soon_threadsafe(tell, *told)
        except RuntimeError:  # the loop was closed meanwhile
            return

    threading.Thread(target=work, name="tool", daemon=True).start()
    return await result


def _told(error: BaseException) -> Exception:
    """An error that can be set on a future: those that would end Python say so in words."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
