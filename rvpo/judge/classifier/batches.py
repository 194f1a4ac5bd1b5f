"""Inputs that wait, scored together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")


class Batches(Generic[Input, Output]):
    """Takes inputs one by one, and computes as many as wait in one call, in a thread.

    Args:
        compute: gives an output for each input.
        most: inputs of a call.
    """

    def __init__(self, compute: Callable[[Sequence[Input]], Sequence[Output]], most: int) -> None:
        self._compute = compute
        self._most = most
        self._waiting: deque[tuple[Input, asyncio.Future[Output]]] = deque()
        self._some = asyncio.Event()

    async def add(self, given: Input) -> Output:
        """The output for an input; raises what computing it raised."""
        future: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        self._waiting.append((given, future))
        self._some.set()
        return await future

    async def run(self) -> None:
        """Compute what comes, until cancelled."""
        while True:
            await self._some.wait()
            batch = self._next()
            if not batch:
                self._some.clear()
                continue
            try:
                found = await asyncio.to_thread(self._compute, [given for given, _ in batch])
            except Exception as error:  # models raise anything; each waiting call tells of it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), output in zip(batch, found, strict=True):
                if not future.done():
                    future.set_result(output)

    def _next(self) -> list[tuple[Input, asyncio.Future[Output]]]:
        """The first that wait, without those that nobody waits for any longer."""
        batch: list[tuple[Input, asyncio.Future[Output]]] = []
        while self._waiting and len(batch) < self._most:
            item = self._waiting.popleft()
            if not item[1].done():
                batch.append(item)
        return batch
