"""The calls of one sender of weights to all servers at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rvpo.rollout.servers.http import Http, ServerError
from rvpo.runtime.ignore import ignore

T = TypeVar("T")


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
    glance_s: float = 5.0
    """The same, for one that was left out of the last update: nobody waits long for it."""
    pause_s: float = 600.0
    """To finish what they generate."""
    form_s: float = 30.0
    """To come to a new group."""
    silence_s: float = 60.0
    """To take the next bucket."""
    answer_s: float = 90.0
    """To answer every other question."""
    update_s: float = 3600.0
    """To take all weights, if bucket follows on bucket."""
    settle_s: float = 10.0
    """To say what went wrong, once an update has failed."""
    again_s: float = 1.0
    """Rank 0's own pause after an update that failed; longer each time."""


class FanOut:
    """vLLM's `VLLMWeightSyncClient` for several servers, as if they were one with all the workers.

    Args:
        on_failure: told at once of a question that a server did not answer, from any thread: the
            others may be in an exchange with it that hangs.
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
        self._version = ""
        self._under_way = 0
        self._changed = threading.Condition()
        self._errors: dict[str, ServerError] = {}

    def begin(self, version: str) -> None:
        """Begin an update.

        Args:
            version: the name that `finish_weight_update` gives the weights.
        """
        self._version = version
        self._errors = {}

    def errors(self, seconds: float) -> dict[str, ServerError]:
        """The first error of each server since the update began, by its address.

        Args:
            seconds: those that servers have to answer what they are asked still.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, seconds)
            return dict(self._errors)

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
        nothing for the others; its error is one of `errors`."""
        body = {"weight_version": self._version}
        self._answers("/finish_weight_update", self._alike(body), self._patience.answer_s)

    def _alike(self, body: Any) -> Mapping[str, Any]:
        return dict.fromkeys((member.url for member in self._members), body)

    def _ask(self, route: str, bodies: Mapping[str, Any], seconds: float) -> None:
        """
        Raises:
            ServerError: one failed.
        """
        for answer in self._answers(route, bodies, seconds, self._on_failure):
            if isinstance(answer, ServerError):
                raise answer

    def _answers(
        self,
        route: str,
        bodies: Mapping[str, Any],
        seconds: float,
        on_failure: Callable[[ServerError], object] = ignore,
    ) -> list[Any]:
        async def ask(url: str, body: Any) -> Any:
            try:
                return await self._http.ask("POST", url, route, json=body, timeout_s=seconds)
            except ServerError as error:
                self._errors.setdefault(url, error)
                on_failure(error)
                raise

        with self._changed:
            self._under_way += 1
        try:
            return self._http.run(each([ask(*item) for item in bodies.items()]))
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


async def each(questions: Sequence[Awaitable[T]]) -> list[T | ServerError]:
    """The answer or the error of each."""

    async def answer(question: Awaitable[T]) -> T | ServerError:
        try:
            return await question
        except ServerError as error:
            return error

    return await asyncio.gather(*map(answer, questions))
