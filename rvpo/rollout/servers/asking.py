"""All samples of one rollout asked of servers, each until one answers."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from rvpo.errors import EngineError
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.identity import weight_version
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.reply import SampledTokens, SampleRequest, read_reply
from rvpo.rollout.servers.routing import Routing
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.runtime.pulse import ALIVE_TIMES

Heard = Callable[[int, SampledTokens], None]

_MOST_TRIES: Final = 20
"""Servers that may fail to answer for one sample."""
_MOST_FAULTS: Final = 32
"""Faults of a server in a row after which it is asked no more, healthy as it may say that it is."""
_SHORTEST_S, _LONGEST_S = 0.02, 5.0
"""Seconds before a sample that failed twice is asked for again; twice as many each time."""
_BUSY_S, _LONGEST_BUSY_S = 0.5, 30.0
"""Seconds that a busy server is left alone: where it says nothing, and at most."""
_LOOKS: Final = 60
"""Looks at a server within the patience, where that is not more often than useful."""
_FASTEST_S, _SLOWEST_S = 0.5, 20.0
_FIRST_LOOK_S: Final = 10.0
_PROBES_S: Final = (0.0, 0.2, 1.0)
"""Seconds before each question to a server that failed."""


class Versions:
    """The versions of weights that may answer. Weights that come while samples are generated have
    been announced before the first server has them.

    Args:
        label: reads the names that servers give them.
    """

    def __init__(self, label: RunLabel) -> None:
        self.label = label
        self.present: int | None = None
        """The version of the servers that may be asked; None before the first."""
        self.newest = -1
        """The version that was sent last, or is being sent."""


class Asking:
    """One rollout. Lives in the event loop of `http`.

    Args:
        requests: one for each row, in order.
        groups: rows of the samples of each prompt.
        goes_on: rows that were answered may be asked for again, until `end`.
        at_once: samples that a server is asked for at once.
        patience_s: seconds that a server may say nothing; for one that lives, and is slow, a
            request may take `ALIVE_TIMES` as many.
        model: see `WeightSync.model`.
        heard: told of each completion once.
        say: told of each server that is lost.
    """

    def __init__(
        self,
        http: Http,
        pool: Pool,
        versions: Versions,
        requests: Sequence[SampleRequest],
        groups: Sequence[Sequence[int]],
        *,
        goes_on: bool,
        at_once: int,
        patience_s: float,
        model: str | None,
        heard: Heard,
        say: Callable[[str], None],
    ) -> None:
        self._http = http
        self._pool = pool
        self._versions = versions
        self._requests = dict(enumerate(requests))
        self._goes_on = goes_on
        tokens = [requests[row].tokens(len(group)) for group in groups for row in group]
        self._routing = Routing(pool, groups, tokens, at_once)
        self._patience_s = patience_s
        self._model = model
        self._heard = heard
        self._say = say
        # Prefixes that other rollouts left in a server's cache have no part in this one.
        self._salt = secrets.token_hex(8)
        self._left = set(range(len(requests)))
        self._asked: dict[int, asyncio.Task[None]] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._watched: set[str] = set()
        self._failed: BaseException | None = None
        self._probed: set[str] = set()
        self._tries: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self.asked_again = 0
        """Requests that a server did not answer."""
        self._busy_since: dict[str, float] = {}
        self._pauses: Counter[str] = Counter()
        """Times in a row that a server was left alone because it was busy."""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Ask until every row is answered, and none goes on.

        Raises:
            EngineError: too few servers are left, or a sample was asked for too often.
        """
        try:
            await self._look_at_all()
            self.renewed()
            while self._left or self._goes_on:
                if self._failed is not None:
                    raise self._failed
                self._pool.check()
                self._news.clear()
                while (found := self._routing.next()) is not None:
                    row, url = found
                    self._asked[row] = self._begin(self._ask(row, url))
                await self._news.wait()
        finally:
            tasks = list(self._beside)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for url in self._routing.at:  # where the rollout failed, or was interrupted
                self._routing.leave(url)
            for url in self._probed:  # which the next rollout looks at again
                self._pool.trust(url)

    def go_on(self, requests: Iterable[SampleRequest]) -> None:
        """Ask for one more sample of rows that were answered, or for the first one of others."""
        first: dict[tuple[int, ...], list[int]] = {}
        for request in requests:
            if request.row in self._requests:
                self._routing.go_on(request.row, request.max_tokens)
            else:
                first.setdefault(tuple(request.prompt_ids), []).append(request.row)
            self._requests[request.row] = request
            self._left.add(request.row)
            self._tries.pop(request.row, None)
        for rows in first.values():
            self._routing.begin({row: self._requests[row].tokens(len(rows)) for row in rows})
        self._news.set()

    def end(self) -> None:
        """No row goes on beyond what it was asked for."""
        self._goes_on = False
        self._news.set()

    async def _look_at_all(self) -> None:
        """They may have been started again since they got their weights. Those that take long to
        say so are asked for samples later."""
        for url in self._pool.servers:
            self._look(url)
        if self._beside:
            await asyncio.wait(list(self._beside), timeout=_FIRST_LOOK_S)

    def renewed(self) -> None:
        """Take in that servers have new weights, and that some may not."""
        for url in set(self._pool.servers) - self._watched:
            self._watched.add(url)
            self._begin(self._watch(url))
        self._let_go()

    async def _ask(self, row: int, url: str) -> None:
        """Ask one server for one sample. What follows from the answer is done before anything else
        can happen, and a task that was cancelled does nothing more."""
        request, oldest = self._requests[row], self._versions.present
        assert oldest is not None
        body: dict[str, Any] = {
            "token_ids": request.prompt_ids,
            "sampling_params": request.sampling,
            "cache_salt": f"{self._salt}-{oldest}",
        }
        if self._model is not None:
            body["model"] = self._model
        try:
            text = await self._http.fetch(
                "POST",
                url,
                "/inference/v1/generate",
                json=body,
                timeout_s=ALIVE_TIMES * self._patience_s,
            )
            allowed = range(oldest, self._versions.newest + 1)
            completion = read_reply(
                text, url, request, allowed, self._versions.label, self._http.told
            )
        except ServerError as error:
            self._end(row)
            self._learn(row, error)
        else:
            self._end(row)
            self._faults.pop(url, None)
            self._busy_since.pop(url, None)
            self._pauses.pop(url, None)
            self._left.remove(row)
            self._heard(row, completion)

    def _end(self, row: int) -> None:
        del self._asked[row]
        self._routing.end(row)
        self._news.set()

    def _learn(self, row: int, error: ServerError) -> None:
        """A row was not answered."""
        self.asked_again += 1
        url, loop = error.url, asyncio.get_running_loop()
        if error.kind == "busy":
            self._pause(error)
            self._again(row, url)
            return
        self._tries[row] += 1
        self._faults[url] += 1
        if self._tries[row] >= _MOST_TRIES:
            self._failed = EngineError(
                f"no server answered for a completion of prompt {self._requests[row].prompt.id!r}, "
                f"asked {_MOST_TRIES} times; the last one, {error}; see what it says itself, then "
                "continue with --resume"
            )
        if error.kind in ("stale", "refused") or self._faults[url] >= _MOST_FAULTS:
            self._lose(url, error.reason)
        else:
            self._look(url)
        pause_s = _SHORTEST_S * 2 ** (self._tries[row] - 2) if self._tries[row] > 1 else 0.0
        loop.call_later(min(pause_s, _LONGEST_S), self._again, row, url)

    def _pause(self, error: ServerError) -> None:
        """Leave a busy server alone for as long as it says, and longer each time."""
        url, loop = error.url, asyncio.get_running_loop()
        since = self._busy_since.setdefault(url, loop.time())
        if loop.time() - since > ALIVE_TIMES * self._patience_s:
            self._lose(url, error.reason)
        elif self._pool.is_ready(url):
            wait_s = _BUSY_S if error.wait_s is None else error.wait_s
            wait_s = max(wait_s, _SHORTEST_S / 2 * 2 ** self._pauses[url])
            self._pauses[url] += 1
            self._pool.doubt(url)
            loop.call_later(min(wait_s, _LONGEST_BUSY_S), self._trust, url)

    def _again(self, row: int, without: str) -> None:
        self._routing.again([row], without)
        self._news.set()

    def _trust(self, url: str) -> None:
        if url not in self._probed:
            self._pool.trust(url)
            self._news.set()

    def _lose(self, url: str, words: str) -> None:
        """Ask a server for nothing more, and others for what it was to do."""
        if url in self._pool.servers:
            self._pool.lose(url, words)
            self._say(
                f"server {url} {words}: it is left out until the next weights, and others are "
                "asked again for its samples"
            )
        self._let_go()

    def _let_go(self) -> None:
        gone = set(self._routing.at) - set(self._pool.servers)
        for url in gone:
            rows = self._routing.leave(url)
            self.asked_again += len(rows)
            for row in rows:
                self._asked.pop(row).cancel()
            by_prompt: dict[int, list[int]] = {}
            for row in rows:
                by_prompt.setdefault(id(self._requests[row].prompt), []).append(row)
            for group in by_prompt.values():
                self._routing.again(group)
        self._news.set()

    def _look(self, url: str) -> None:
        """Ask a server for nothing until it has been looked at."""
        if url in self._pool.servers and url not in self._probed:
            self._pool.doubt(url)
            self._probed.add(url)
            self._begin(self._probe(url))

    async def _probe(self, url: str) -> None:
        """Look at a server that failed: it may have lost one connection, or its weights."""
        words = ""
        for pause_s in _PROBES_S:
            await asyncio.sleep(pause_s)
            try:
                version = await weight_version(self._http, url, self._patience_s)
            except ServerError as error:
                words = error.reason
                if error.kind == "late":
                    break
                continue
            versions = self._versions
            if versions.label.read(version) in (versions.present, versions.newest):
                self._probed.discard(url)
                self._trust(url)
                return
            words = f"has weights of {versions.label.told(version)}, not {versions.present}"
            break
        self._probed.discard(url)
        self._lose(url, self._http.told(words))

    async def _watch(self, url: str) -> None:
        """Look at a server from time to time: one that died without a word answers for nothing."""
        pause_s = min(max(self._patience_s / _LOOKS, _FASTEST_S), _SLOWEST_S)
        while True:
            await asyncio.sleep(pause_s)
            if not self._pool.is_ready(url):
                continue
            try:
                await self._http.ask("GET", url, "/health", timeout_s=self._patience_s)
            except ServerError:
                self._look(url)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failed = task.exception()
            self._news.set()
