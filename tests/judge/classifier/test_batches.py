"""Inputs that wait are computed together, and each call gets its own output or its own error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from rvpo.judge.classifier.batches import Batches


class Held:
    """Doubles numbers, once it is let; remembers what it was called with."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.calls: list[list[int]] = []

    def __call__(self, given: Sequence[int]) -> list[int]:
        self.calls.append(list(given))
        assert self.let.wait(60)
        if 0 in given:
            raise RuntimeError("out of memory")
        return [2 * number for number in given]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def under_way(held: Held, count: int) -> None:
    while len(held.calls) < count:
        await asyncio.sleep(0.001)


def test_what_comes_meanwhile_is_computed_together_and_in_order() -> None:
    held = Held()

    async def run() -> list[int]:
        batches = Batches(held, 3)
        running = asyncio.create_task(batches.run())
        first = asyncio.create_task(batches.add(1))
        await under_way(held, 1)
        others = [asyncio.create_task(batches.add(number)) for number in (2, 3, 4, 5)]
        await settle()
        held.let.set()
        found = await asyncio.gather(first, *others)
        running.cancel()
        return list(found)

    assert asyncio.run(run()) == [2, 4, 6, 8, 10]
    assert held.calls == [[1], [2, 3, 4], [5]]


def test_what_nobody_waits_for_is_not_computed() -> None:
    held = Held()

    async def run() -> None:
        batches = Batches(held, 1)
        running = asyncio.create_task(batches.run())
        first, gone, last = (asyncio.create_task(batches.add(number)) for number in (1, 2, 3))
        await under_way(held, 1)
        gone.cancel()
        await settle()
        held.let.set()
        assert await asyncio.gather(first, last) == [2, 6]
        running.cancel()

    asyncio.run(run())
    assert held.calls == [[1], [3]]


def test_an_error_reaches_those_of_its_batch_alone() -> None:
    held = Held()
    held.let.set()

    async def run() -> None:
        batches = Batches(held, 1)
        running = asyncio.create_task(batches.run())
        with pytest.raises(RuntimeError, match="out of memory"):
            await batches.add(0)
        assert await batches.add(4) == 8
        running.cancel()

    asyncio.run(run())
