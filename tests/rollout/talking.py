"""Rows of a rollout that go on for some turns, each after a while, as any engine is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from threading import Condition

from rvpo.errors import EngineError
from rvpo.rollout.further import TurnRequest
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt, Sample

TOLD = (65, 66)
"""Tokens that are put behind each turn."""


class Talking:
    """A `Further` whose `hear` is an engine's `on_sample`.

    Args:
        turns: number of each row's.
        delays: seconds before a further turn, by row and turn; none where it says nothing.
        most: tokens of a further turn, by row and turn.
    """

    def __init__(
        self,
        turns: Sequence[int],
        delays: Mapping[tuple[int, int], float] | None = None,
        most: Callable[[int, int], int] = lambda row, turn: 8,
    ) -> None:
        self._turns = turns
        self._delays = delays or {}
        self._most = most
        self._loop = EventLoop("worlds of a test", EngineError)
        self._changed = Condition()
        self._waiting = 0
        self._requests: list[TurnRequest] = []
        self._told: Callable[[], None] = ignore
        self.heard: list[tuple[int, Sample]] = []
        """All samples, in the order in which they came."""
        self.taken: list[TurnRequest] = []

    def begin(self, prompts: Sequence[Prompt]) -> None:
        """Have first turns too, a row for each prompt, behind the delay of its turn 0."""
        self._waiting += len(prompts)
        for row, prompt in enumerate(prompts):
            self._loop.start(self._later(TurnRequest(row, 0, prompt, self._most(row, 0))))

    def hear(self, row: int, sample: Sample) -> None:
        turn = sum(1 for other, _ in self.heard if other == row) + 1
        self.heard.append((row, sample))
        if turn < self._turns[row]:
            with self._changed:
                self._waiting += 1
            prompt = replace(
                sample.prompt, token_ids=(*sample.prompt_ids, *sample.completion_ids, *TOLD)
            )
            self._loop.start(self._later(TurnRequest(row, turn, prompt, self._most(row, turn))))

    async def _later(self, request: TurnRequest) -> None:
        await asyncio.sleep(self._delays.get((request.row, request.turn), 0.0))
        with self._changed:
            self._waiting -= 1
            self._requests.append(request)
            self._changed.notify_all()
        self._told()

    def take(self) -> Sequence[TurnRequest]:
        with self._changed:
            found, self._requests = self._requests, []
        found.sort(key=lambda request: request.row)
        self.taken += found
        return found

    def wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._requests or not self._waiting)
            return bool(self._requests)

    def settle(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)

    def listen(self, told: Callable[[], None]) -> None:
        self._told = told

    def of_row(self, row: int) -> list[Sample]:
        """The samples of a row, turn by turn."""
        return [sample for other, sample in self.heard if other == row]

    def close(self) -> None:
        self._loop.close()


def check_all_turns(talk: Talking, turns: Sequence[int], last: Sequence[Sample]) -> None:
    """Fail where a turn was lost or doubled, or does not follow the one before it.

    Args:
        last: samples of the rollout.
    """
    assert [len(talk.of_row(row)) for row in range(len(turns))] == list(turns)
    for row in range(len(turns)):
        said = talk.of_row(row)
        assert last[row] is said[-1]
        for before, after in pairwise(said):
            assert after.prompt_ids == (*before.prompt_ids, *before.completion_ids, *TOLD)
            assert after.prompt.id == before.prompt.id
