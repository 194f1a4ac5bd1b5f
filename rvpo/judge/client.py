"""A rank's line to the judge workers."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from rvpo.errors import RewardError
from rvpo.judge.types import Answer, Job

_LONGEST_LINE: Final = 64 * 2**20  # bytes
_MOST_LOSSES: Final = 8
_LONGEST_PAUSE_S: Final = 1.0

Answers = tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class JudgeAddresses:
    """Where the judge workers of a run listen, and the word that lets a rank in.

    Plain data: ranks hand it to one another as an object or as JSON.
    """

    workers: tuple[tuple[str, int], ...]
    """(host, port) of each."""
    token: str = field(repr=False)


class JudgeClient:
    """Sends jobs to the judge workers of the run and gives their answers back.

    All of it happens on one background thread, which sleeps while nothing arrives. When a worker
    dies, its unanswered jobs are sent again as soon as it is back.

    Args:
        patience_s: how long a worker may be out of reach before its jobs fail.
    """

    def __init__(self, addresses: JudgeAddresses, patience_s: float = 60.0) -> None:
        self._futures: set[Future[Answers]] = set()
        self._ids = itertools.count()
        self._links = [
            _Link(host, port, addresses.token, patience_s) for host, port in addresses.workers
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
        request = _Request(next(self._ids), job, Future())
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


@dataclass(frozen=True, slots=True)
class _Request:
    id: int
    job: Job
    future: Future[Answers]


class _Link:
    """The connection to one worker, and all it has not answered. Lives on the client's thread."""

    def __init__(self, host: str, port: int, token: str, patience_s: float) -> None:
        self._host, self._port, self._token = host, port, token
        self._patience_s = patience_s
        self._unanswered: dict[int, _Request] = {}
        self._unsent: deque[_Request] = deque()
        self._work = asyncio.Event()  # set while something is unsent
        self._writer: asyncio.StreamWriter | None = None
        self._losses = 0  # of the connection, since the last answer
        self._given_up: str | None = None

    def add(self, request: _Request) -> None:
        if self._given_up is not None:
            _fail(request, self._given_up)
            return
        self._unanswered[request.id] = request
        self._unsent.append(request)
        self._work.set()

    def drop(self) -> None:
        self._unanswered.clear()
        self._unsent.clear()
        self._losses = 0
        if self._writer is None:
            return
        if self._writer.transport.get_write_buffer_size():
            # The worker is behind and would read this long after. A lost connection it notices,
            # and has no one left to answer.
            self._writer.transport.abort()
        else:
            self._writer.write(_line({"cancel": True}))

    async def run(self) -> None:
        """Keep a connection while there is something to ask."""
        while True:
            await self._work.wait()
            try:
                reader, self._writer = await self._connect()
            except OSError as error:
                self._fail_all(
                    f"could not be reached for {self._patience_s:.0f} s "
                    f"({error.strerror or error or type(error).__name__}); rank 0, which starts "
                    "the judge workers, may have ended"
                )
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(self._writer))
                    group.create_task(self._receive(reader))
            except* OSError:
                self._losses += 1
            except* _WorkerError as errors:
                self._fail_all(str(errors.exceptions[0]))
            finally:
                self._writer.transport.abort()
                self._writer = None
            await self._start_over()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        until = time.monotonic() + self._patience_s
        pause = 0.05
        while True:
            try:
                async with asyncio.timeout(10):
                    reader, writer = await asyncio.open_connection(
                        self._host, self._port, limit=_LONGEST_LINE
                    )
            except OSError:  # TimeoutError is one
                if time.monotonic() + pause > until:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                _notice_silence(writer.get_extra_info("socket"))
                return reader, writer

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_line({"token": self._token}))
        while True:
            while self._unsent:
                request = self._unsent.popleft()
                if request.future.cancelled():
                    self._unanswered.pop(request.id, None)
                    continue
                writer.write(_line({"id": request.id, "job": request.job.to_json()}))
                await writer.drain()
            self._work.clear()
            await self._work.wait()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError as error:
                raise _WorkerError("sent a line without an end") from error
            if not line.endswith(b"\n"):
                raise ConnectionResetError("the worker closed the connection")
            self._take(line)

    def _take(self, line: bytes) -> None:
        """
        Raises:
            _WorkerError: the worker gave up for good, or the line is no reply.
        """
        try:
            reply = json.loads(line)
            if "error" in reply:
                self._given_up = str(reply["error"])
                raise _WorkerError(self._given_up)
            request = self._unanswered.get(reply["id"])
            answers = tuple(Answer.from_json(answer) for answer in reply["answers"])
            if request is not None and len(answers) != len(request.job.questions):
                raise ValueError("one answer per question is needed")
        except (ValueError, TypeError, KeyError) as error:
            raise _WorkerError(f"sent a reply that cannot be read: {line[:80]!r}") from error
        self._losses = 0
        if request is None:  # answered before, or dropped meanwhile
            return
        del self._unanswered[request.id]
        if request.future.set_running_or_notify_cancel():
            request.future.set_result(answers)

    async def _start_over(self) -> None:
        """After a loss: everything unanswered is unsent again."""
        if self._losses >= _MOST_LOSSES:
            self._fail_all(f"closed the connection {self._losses} times without an answer")
            self._losses = 0
        self._unsent = deque(self._unanswered.values())
        if self._unsent:
            self._work.set()
        else:
            self._work.clear()
        if self._losses:
            await asyncio.sleep(min(0.05 * 2**self._losses, _LONGEST_PAUSE_S))

    def _fail_all(self, what: str) -> None:
        if self._given_up is None:
            what = f"the judge worker at {self._host}:{self._port} {what}"
        failed = list(self._unanswered.values())
        self._unanswered.clear()
        self._unsent.clear()
        self._work.clear()
        for request in failed:
            _fail(request, what)


class _WorkerError(Exception):
    """A worker that cannot be worked with."""


def _fail(request: _Request, sentence: str) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_exception(RewardError(sentence))


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _route(job: Job, count: int) -> int:
    """The worker for a job: equal responses meet in one, on every rank, so each is asked once."""
    digest = 0
    for text in (*itertools.chain.from_iterable(job.conversation), job.response):
        digest = crc32(text.encode(errors="surrogatepass"), digest)
    return digest % count


def _notice_silence(connection: socket.socket) -> None:
    """Let a machine that went away be noticed within a minute and a half."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
