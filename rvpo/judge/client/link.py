"""The connection of a client to one judge worker."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from rvpo.errors import RewardError
from rvpo.judge.handshake import SILENCE_S, GivenUpError, greet
from rvpo.judge.types import Answer, Job

_LONGEST_LINE: Final = 64 * 2**20  # bytes
_LOOKS: Final = 10  # at a worker, until its silence is too long
_MOST_LOSSES: Final = 8
_MOST_SILENCES: Final = 3  # fewer, for each takes long
_LONGEST_PAUSE_S: Final = 1.0

Answers = tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job on its way, and who waits for it."""

    id: int
    job: Job
    future: Future[Answers]


class Link:
    """The connection to one worker, and all it has not answered. Lives on the client's thread.

    Args:
        patience_s: seconds that the worker may be out of reach before its jobs fail.
        silence_s: seconds without a word of it before it is tried on another connection.
    """

    def __init__(
        self, host: str, port: int, token: str, patience_s: float, silence_s: float = SILENCE_S
    ) -> None:
        self._host, self._port, self._token = host, port, token
        self._patience_s, self._silence_s = patience_s, silence_s
        self._unanswered: dict[int, JobRequest] = {}
        self._unsent: deque[JobRequest] = deque()
        self._work = asyncio.Event()  # set while something is unsent
        self._writer: asyncio.StreamWriter | None = None
        self._losses = 0  # of the connection, since the last answer
        self._silences = 0  # of these
        self._lines = 0  # that came
        self._given_up: str | None = None

    def add(self, request: JobRequest) -> None:
        if self._given_up is not None:
            _fail(request, self._given_up)
            return
        self._unanswered[request.id] = request
        self._unsent.append(request)
        self._work.set()

    def drop(self) -> None:
        self._unanswered.clear()
        self._unsent.clear()
        self._losses = self._silences = 0
        if self._writer is None:
            return
        if self._writer.transport.get_write_buffer_size():
            # The worker is behind and would read this long after. A lost connection it notices,
            # and has no one left to answer: at once, if the end does not queue behind the jobs.
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.write(_line({"cancel": True}))

    async def run(self) -> None:
        """Keep a connection while there is something to ask."""
        while True:
            await self._work.wait()
            try:
                reader, writer = await self._connect()
            except OSError as error:
                self._fail_all(
                    f"could not be reached for {self._patience_s:.0f} s "
                    f"({error.strerror or error or type(error).__name__}); rank 0, which starts "
                    "the judge workers, may have ended"
                )
                continue
            try:
                await self._greet(reader, writer)
                self._writer = writer
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(writer))
                    group.create_task(self._receive(reader))
                    group.create_task(self._watch())
            except* OSError as errors:
                self._losses += 1
                self._silences += errors.subgroup(_Silence) is not None
            except* _WorkerError as errors:
                self._fail_all(str(errors.exceptions[0]))
            finally:
                writer.transport.abort()
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

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Raises:
            ConnectionError: the other side left, or is no worker of this run.
            _Silence: it says nothing.
            _WorkerError: it gave up for good.
        """
        try:
            await greet(reader, writer, self._token, self._port, self._silence_s)
        except TimeoutError as error:
            raise _Silence from error
        except GivenUpError as error:
            self._given_up = str(error)
            raise _WorkerError(self._given_up) from error

    async def _send(self, writer: asyncio.StreamWriter) -> None:
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
            self._lines += 1
            self._take(line)

    async def _watch(self) -> None:
        """
        Raises:
            _Silence: the worker said nothing for too long, as one does that was stopped.
        """
        looks, lines = 0, self._lines
        while looks < _LOOKS:
            # Not one long wait: time in which this process itself stands still is a single look.
            await asyncio.sleep(self._silence_s / _LOOKS)
            looks = looks + 1 if lines == self._lines else 0
            lines = self._lines
        raise _Silence

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
            if "alive" in reply:
                return
            request = self._unanswered.get(reply["id"])
            answers = tuple(Answer.from_json(answer) for answer in reply["answers"])
            if request is not None and len(answers) != len(request.job.questions):
                raise ValueError("one answer per question is needed")
        except (ValueError, TypeError, KeyError) as error:
            raise _WorkerError(f"sent a reply that cannot be read: {line[:80]!r}") from error
        self._losses = self._silences = 0
        if request is None:  # answered before, or dropped meanwhile
            return
        del self._unanswered[request.id]
        if request.future.set_running_or_notify_cancel():
            request.future.set_result(answers)

    async def _start_over(self) -> None:
        """Recover from a loss: everything unanswered is unsent again."""
        if self._silences >= _MOST_SILENCES:
            self._fail_all(
                f"does not answer: it was silent for {self._silence_s:g} s, {self._silences} times "
                "in a row; if its process was stopped, continue or kill it"
            )
            self._losses = self._silences = 0
        elif self._losses >= _MOST_LOSSES:
            self._fail_all(f"closed the connection {self._losses} times without an answer")
            self._losses = self._silences = 0
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


class _Silence(ConnectionError):
    """A connection on which nothing comes any more."""


class _WorkerError(Exception):
    """A worker that cannot be worked with."""


def _fail(request: JobRequest, sentence: str) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_exception(RewardError(sentence))


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _notice_silence(connection: socket.socket) -> None:
    """Let a machine that went away be noticed within a minute and a half."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
