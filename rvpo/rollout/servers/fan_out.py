"""The calls of one sender of weights to all servers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rvpo.rollout.servers.http import Http, ServerError

T = TypeVar("T")

_MARGIN_S: Final = 10.0
"""Seconds beyond the deadlines of the questions, for the thread that asks them."""


@dataclass(frozen=True, slots=True)
class Member:
    """One server of the group that takes weights."""

    url: str
    workers: int
    """Processes of its own, each of which takes weights."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that servers have."""

    look_s: float = 45.0
    """To say who they are; more than `form_s`, in which they may wait for a group in vain."""
    pause_s: float = 600.0
    """To finish what they generate."""
    form_s: float = 30.0
    """To come to a new group."""
    silence_s: float = 60.0
    """To take the next bucket."""
    answer_s: float = 90.0
    """For every other question."""
    update_s: float = 3600.0
    """To take all weights, if bucket follows on bucket."""


class FanOut:
    """vLLM's `VLLMWeightSyncClient` for several servers, as if they were one with all the workers.

    Args:
        on_failure: told at once of a question that a server did not answer, from any thread.
    """

    def __init__(
        self,
        http: Http,
        members: Sequence[Member],
        patience: Patience,
        on_failure: Callable[[ServerError], None],
    ) -> None:
        self._http = http
        self._members = members
        self._patience = patience
        self._on_failure = on_failure
        self.version = 0
        """The version that `finish_weight_update` gives the weights."""
        self.unfinished: dict[str, ServerError] = {}
        """Errors of servers that did not finish the last update, by their addresses."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Have each take the ranks that follow those of the one before."""
        offset = init_info["rank_offset"]
        bodies = {}
        for member in self._members:
            bodies[member.url] = {"init_info": {**init_info, "rank_offset": offset}}
            offset += member.workers
        self._ask("/init_weight_transfer_engine", bodies, self._patience.answer_s)

    def start_weight_update(self) -> None:
        """Have all open their models for new weights."""
        self._ask("/start_weight_update", self._alike(None), self._patience.answer_s)

    def update_weights(self, update_info: Any) -> None:
        """Have all take weights; returns when they have all of them."""
        body = {"update_info": update_info}
        self._ask("/update_weights", self._alike(body), self._patience.update_s)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have all compute with what they have, under the version. One that fails here spoils
        nothing for the others."""
        body = {"weight_version": str(self.version)}
        asked = self._questions("/finish_weight_update", self._alike(body), self._patience.answer_s)
        answers = self._http.run(each(asked), self._patience.answer_s + _MARGIN_S)
        failed = [error for error in answers if isinstance(error, ServerError)]
        self.unfinished = {error.url: error for error in failed}

    def _alike(self, body: Any) -> Mapping[str, Any]:
        return dict.fromkeys((member.url for member in self._members), body)

    def _ask(self, route: str, bodies: Mapping[str, Any], seconds: float) -> None:
        try:
            asked = all_or_none(self._questions(route, bodies, seconds))
            self._http.run(asked, seconds + _MARGIN_S)
        except ServerError as error:
            self._on_failure(error)
            raise

    def _questions(
        self, route: str, bodies: Mapping[str, Any], seconds: float
    ) -> list[Coroutine[Any, Any, Any]]:
        return [
            self._http.ask("POST", url, route, json=body, timeout_s=seconds)
            for url, body in bodies.items()
        ]


async def each(questions: Sequence[Awaitable[T]]) -> list[T | ServerError]:
    """The answer or the error of each."""

    async def answer(question: Awaitable[T]) -> T | ServerError:
        try:
            return await question
        except ServerError as error:
            return error

    return await asyncio.gather(*map(answer, questions))


async def all_or_none(questions: Sequence[Awaitable[Any]]) -> None:
    """Wait for all, or for the first that fails: the others are given up then.

    Raises:
        ServerError: one failed.
    """
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
