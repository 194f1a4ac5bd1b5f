"""The servers of a run: who is there, and what each is told before and after new weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.identity import weight_version, worker_count
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.fan_out import Member, Patience, each

T = TypeVar("T")
Fits = Callable[[str], Coroutine[Any, Any, None]]

_RELEASE_S: Final = 5.0
_UNSENT: Final = "unsent"
"""The version of a server whose weights are of no version: an update that was not completed left
some new and some old."""


class Roster:
    """Asks all servers the same at once. One that fails is left out, with its words in `losses`.

    Args:
        label: makes the names of versions.
        in_flight: requests that a server has when weights come go on under the new ones.
        fits: raises a ServerError for a server that cannot generate for the run.
    """

    def __init__(
        self,
        http: Http,
        patience: Patience,
        label: RunLabel,
        *,
        in_flight: bool,
        fits: Fits | None = None,
    ) -> None:
        self._http = http
        self._fits = fits
        self._patience = patience
        self._label = label
        # Requests that come meanwhile wait in either mode. "wait" ends when none is left; "keep"
        # computes their keys and values anew under the new weights, for it clears the caches.
        self._mode = "keep" if in_flight else "wait"
        self._paused: set[Member] = set()
        self.losses: dict[str, str] = {}
        """Last words of the servers that were left out, by their addresses."""

    def present(self, urls: Iterable[str], glanced_at: Collection[str] = ()) -> dict[Member, str]:
        """Those that answer, with the version that each says it has.

        Args:
            glanced_at: those of them that nobody waits long for.
        """
        patience = self._patience

        async def look(url: str) -> tuple[Member, str]:
            seconds = patience.glance_s if url in glanced_at else patience.look_s
            size = await worker_count(self._http, url, seconds)
            version = await self._version(url, seconds)
            if self._fits is not None:  # it may have come late, or been started again as another
                await self._fits(url)
            return Member(url, size), version

        return dict(self._each(dict.fromkeys(urls, look)).values())

    def pause(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Have nothing computed, and forget what older weights computed.

        A request that is computed during an update would end vLLM's engine for good.

        Returns:
            Those that did.
        """
        return self._those(self._noted(members), self._pause)

    def prepare(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """Pause, and bring whatever an update left behind that was not completed to an end, so
        that a new group can be formed and all weights sent.

        Returns:
            Those that did.
        """
        return self._those(self._noted(members), self._prepare)

    def resume(self, members: Iterable[Member], version: int) -> tuple[Member, ...]:
        """Have those compute again that say that they have the version.

        Returns:
            Those that did.
        """

        async def resume(url: str) -> None:
            has = await self._version(url)
            if has != self._label.of(version):
                words = f"says that its weights are {self._label.told(has)} after it took {version}"
                raise ServerError(url, words, "failed")
            await self._tell(url, "/resume")

        resumed = self._those(members, resume)
        self._paused -= set(resumed)
        return resumed

    def release(self) -> None:
        """Let go of those that are paused, as far as they can be reached: what they have is no
        version of the weights, and they say so."""

        async def release(url: str) -> None:
            await self._close_update(url)
            await self._tell(url, "/resume")

        paused, self._paused = self._paused, set()
        self._patience = replace(self._patience, answer_s=_RELEASE_S)
        self._those(paused, release)

    def leave_out(self, error: ServerError) -> None:
        """Note the words of a server that failed elsewhere."""
        self.losses[error.url] = error.reason

    async def _version(self, url: str, seconds: float | None = None) -> str:
        seconds = seconds or self._patience.look_s
        return await weight_version(self._http, url, seconds)

    async def _pause(self, url: str) -> None:
        params = {"mode": self._mode, "clear_cache": "true"}
        await self._tell(url, "/pause", self._patience.pause_s, params)

    async def _prepare(self, url: str) -> None:
        await self._version(url)  # one that hangs is not waited for as long as for a pause
        await self._pause(url)
        await self._close_update(url)
        await self._tell(url, "/shutdown_weight_transfer_engine")

    async def _close_update(self, url: str) -> None:
        # vLLM refuses a start where an update is open, and a finish where none is.
        with suppress(ServerError):
            await self._tell(url, "/start_weight_update")
        await self._tell(url, "/finish_weight_update", json={"weight_version": _UNSENT})

    async def _tell(
        self,
        url: str,
        route: str,
        seconds: float | None = None,
        params: dict[str, str] | None = None,
        json: Any = None,
    ) -> None:
        seconds = seconds or self._patience.answer_s
        await self._http.ask("POST", url, route, params=params, json=json, timeout_s=seconds)

    def _noted(self, members: Iterable[Member]) -> tuple[Member, ...]:
        """The same, as paused: they may be, though they did not say so."""
        pausing = tuple(members)
        self._paused |= set(pausing)
        return pausing

    def _those(
        self, members: Iterable[Member], ask: Callable[[str], Coroutine[Any, Any, None]]
    ) -> tuple[Member, ...]:
        by_url = {member.url: member for member in members}
        return tuple(by_url[url] for url in self._each(dict.fromkeys(by_url, ask)))

    def _each(self, asked: Mapping[str, Callable[[str], Coroutine[Any, Any, T]]]) -> dict[str, T]:
        """Answers by address, of those that answer."""
        answers = self._http.run(each([ask(url) for url, ask in asked.items()]))
        found: dict[str, T] = {}
        for url, answer in zip(asked, answers, strict=True):
            if isinstance(answer, ServerError):
                self.losses[url] = answer.reason
            else:
                found[url] = answer
        return found
