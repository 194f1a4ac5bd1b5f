"""An event loop in which async code of others lives as long as a run."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from rvpo.errors import RewardError, RvpoError

T = TypeVar("T")

_END_S = 5.0
"""Seconds that tasks may take to end once they are told to."""


class EventLoop:
    """One event loop for all batches, in a thread of its own.

    What such code keeps between batches (a client, a session, a semaphore, a task) belongs to the
    loop that it was first used in, so there is one for the run. It starts with the first batch,
    also runs between batches, and ends with `close`, which cancels what is still pending.

    Args:
        whose: name of the work that lives in it, for messages.
        failure: the error for a loop that ended too early.
    """

    def __init__(
        self, whose: str = "async rewards", failure: type[RvpoError] = RewardError
    ) -> None:
        self._whose = whose
        self._failure = failure
        self._starting = threading.Lock()
        self._end: weakref.finalize[..., EventLoop] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end, from any thread, and return or raise what it does.

        Raises:
            RvpoError: the loop ended meanwhile.
        """
        future = self.start(work)
        try:
            return future.result()
        except CancelledError as error:
            raise self._failure(
                f"the event loop of the {self._whose} ended while they were at work: something in "
                "it left Python (sys.exit), or the run was closed"
            ) from error
        finally:
            future.cancel()  # where waiting was interrupted, as by Ctrl-C

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin it, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def close(self) -> None:
        """Cancel what is pending and end the loop; the next batch would start another."""
        with self._starting:
            if self._end is not None:
                self._end()
            self._end = self._loop = None

    def leave(self) -> None:
        """Give up a loop that something in it holds up for ever: nothing can end its thread, and
        nobody waits for it any more. The next work starts another."""
        with self._starting:
            if self._end is not None:
                self._end.detach()
            self._end = self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._loop.is_closed():
                ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
                thread = threading.Thread(
                    target=_live, args=(ready,), name=self._whose, daemon=True
                )
                thread.start()
                self._loop, stop = ready.result()
                # Also ends it with its owner, or with Python, where nobody closes it.
                self._end = weakref.finalize(self, _end, self._loop, stop, thread)
            return self._loop


def _live(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    with suppress(SystemExit):  # of a task that nobody waits for; who waits is told by `run`
        asyncio.run(_serve(ready))


async def _serve(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stop = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stop))
    await stop.wait()  # then `asyncio.run` cancels the other tasks and closes what it opened


def _end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)
    thread.join(_END_S)
