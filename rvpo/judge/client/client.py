"""A rank's line to the judge workers."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from zlib import crc32

from rvpo.judge.client.link import Answers, JobRequest, Link
from rvpo.judge.handshake import SILENCE_S
from rvpo.judge.types import Job


@dataclass(frozen=True, slots=True)
class JudgeAddresses:
    """Addresses of a run's judge workers, and the word that lets a rank in.

    Plain data: ranks hand it to one another as an object or as JSON.
    """

    workers: tuple[tuple[str, int], ...]
    """(host, port) of each worker."""
    token: str = field(repr=False)

    def at(self, host: str) -> JudgeAddresses:
        """The same workers, as they are reached under another name of their machine."""
        return replace(self, workers=tuple((host, port) for _, port in self.workers))


class JudgeClient:
    """Sends jobs to the judge workers of the run and gives their answers back.

    All of it happens on one background thread, which sleeps while nothing arrives. When a worker
    dies or falls silent, its unanswered jobs are sent again as soon as it is back.

    Args:
        patience_s: seconds that a worker may be out of reach before its jobs fail.
        silence_s: seconds without a word of it, not even that it lives, before it counts as lost.
    """

    def __init__(
        self,
        addresses: JudgeAddresses,
        patience_s: float = 60.0,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._futures: set[Future[Answers]] = set()
        self._ids = itertools.count()
        self._links = [
            Link(host, port, addresses.token, patience_s, silence_s)
            for host, port in addresses.workers
        ]
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="judge-client", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Answers]:
        """Have a job judged. Returns at once, however busy the workers are.

        Returns:
            A future of one answer per question, in their order. It raises RewardError when the
            worker cannot be reached or gave up, and CancelledError after `cancel` or `close`.
            Its callbacks run on the client's thread. In a coroutine: `asyncio.wrap_future`.

        Raises:
            RuntimeError: the client is closed.
        """
        request = JobRequest(next(self._ids), job, Future())
        link = self._links[_route(job, len(self._links))]
        with self._lock:
            if self._closed:
                raise RuntimeError("the judge client is closed")
            self._futures.add(request.future)
            self._loop.call_soon_threadsafe(link.add, request)
        request.future.add_done_callback(self._forget)
        return request.future

    def cancel(self) -> None:
        """Drop every unanswered job, here and at the workers. Their futures are cancelled."""
        with self._lock:
            futures = list(self._futures)
            if not self._closed:
                for link in self._links:
                    self._loop.call_soon_threadsafe(link.drop)
        for future in futures:  # outside the lock, which their callbacks take
            future.cancel()

    def close(self) -> None:
        """Drop every unanswered job and end the connections. A second call does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
            if not closed:
                self._loop.call_soon_threadsafe(self._stopped.set)
        self.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _forget(self, future: Future[Answers]) -> None:
        with self._lock:
            self._futures.discard(future)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        finally:  # a bug that ends this thread shall not leave anybody waiting
            with self._lock:
                self._closed = True
            self.cancel()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(link.run()) for link in self._links]
            await self._stopped.wait()
            for task in tasks:
                task.cancel()


def _route(job: Job, count: int) -> int:
    """The worker for a job: equal responses meet in one, on every rank, so each is asked once."""
    digest = 0
    for text in (*itertools.chain.from_iterable(job.conversation), job.response):
        digest = crc32(text.encode(errors="surrogatepass"), digest)
    return digest % count
