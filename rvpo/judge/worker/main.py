"""The process that asks the judge: jobs come in over TCP, answers go back.

    python -m rvpo.judge.worker.main

The first line on standard input is JSON: the settings of the judge, the word that lets clients
in, where to listen, this worker's share of the endpoints' limits, the name of the section of
its settings, and the file of what the judge has cost. The worker prints
`{"port": n}`, or `{"error": "..."}` and leaves. It ends when its standard input does, or on
SIGTERM.

Clients speak JSON by the line: first the handshake (`rvpo.judge.handshake`), in which both sides
prove that they know the run's word, then any number of `{"id": n, "job": ...}`, each answered by
`{"id": n, "answers": [...]}` in any order. `{"cancel": true}` drops what is not answered yet, and
so does the end of the connection. Every few seconds the worker says `{"alive": true}`, also while
it reads nothing more: a client that does not hear it has lost it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import select
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from rvpo.config.classifier import judge_of
from rvpo.errors import ConfigError
from rvpo.judge.handshake import BEAT_S, admit
from rvpo.judge.spending import Spending
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job
from rvpo.judge.worker.asker import Asker
from rvpo.runtime.process import end_with_parent

PENDING_PER_CALL: Final = 4
"""Calls' worth of questions taken up for each call that may be in flight; further jobs wait, as
text."""
BACKLOG_BYTES: Final = 2**20
"""Jobs waiting per connection; beyond it nothing more is read, so the sender has to wait."""

MOST_STRANGERS: Final = 64
"""Connections that have not proved themselves; one more, and the oldest of them is dropped."""

_CHUNK: Final = 2**16
_LONGEST_LINE: Final = 64 * 2**20
_POLL_S: Final = 0.25


class Connection:
    """A client, its jobs that nobody took up yet, and those being answered."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.backlog: deque[tuple[int, Job, int]] = deque()  # (number, job, bytes)
        self.tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._room = asyncio.Event()

    def add(self, number: int, job: Job, size: int) -> None:
        """Put a job, of `size` bytes on the wire, at the end of the backlog."""
        self.backlog.append((number, job, size))
        self._bytes += size

    def take(self) -> tuple[int, Job]:
        """The oldest job of the backlog, and its number."""
        number, job, size = self.backlog.popleft()
        self._bytes -= size
        self._room.set()
        return number, job

    def drop(self) -> None:
        """Forget all jobs."""
        self.backlog.clear()
        self._bytes = 0
        self._room.set()
        for task in self.tasks:
            task.cancel()

    async def room(self) -> None:
        """Wait until the backlog may grow, or the client has gone."""
        while self._bytes > BACKLOG_BYTES and not self._is_lost():
            self._room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._room.wait()

    def _is_lost(self) -> bool:
        # Without reading, the event loop does not notice that the other side has closed.
        if self.writer.is_closing():
            return True
        poll = select.poll()
        poll.register(self.writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))


class Worker:
    """Takes up the jobs of all connections in turn, as many as the endpoints keep up with.

    Args:
        asker: the one that answers them.
        token: the word that lets clients in.
    """

    def __init__(self, asker: Asker, token: str) -> None:
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the process shall end; raises what a bug of ours raised."""
        self._asker = asker
        self._token = token
        self.port = 0  # where clients come in, once it listens
        self._most = PENDING_PER_CALL * asker.concurrency
        self._pending = 0  # calls
        self._turns: deque[Connection] = deque()
        self._clients: set[asyncio.Task[None]] = set()
        self._strangers: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    def stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    async def close(self) -> None:
        """Drop all jobs and connections."""
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        task.add_done_callback(self._report)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        beating: asyncio.Task[None] | None = None
        try:
            await self._admit(reader, writer)
            beating = asyncio.create_task(_beat(writer))
            async for line in _lines(reader):
                message = json.loads(line)
                if message.get("cancel"):
                    connection.drop()
                    continue
                if not connection.backlog:
                    self._turns.append(connection)
                connection.add(message["id"], Job.from_json(message["job"]), len(line))
                self._take_up()
                await connection.room()
        except (ConnectionError, TimeoutError):
            pass  # it left, or is none of ours
        finally:
            if beating is not None:
                beating.cancel()
            connection.drop()
            await asyncio.gather(*connection.tasks, return_exceptions=True)
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Raises:
            ConnectionError: it is a stranger, or too many others came meanwhile.
            TimeoutError: it does not prove itself.
        """
        if len(self._strangers) >= MOST_STRANGERS:
            # A rank proves itself within moments, so the oldest is the least likely to be one.
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.transport.abort()
        self._strangers[writer] = None
        try:
            await admit(reader, writer, self._token, self.port)
        finally:
            self._strangers.pop(writer, None)

    def _take_up(self) -> None:
        while self._turns and self._pending < self._most:
            connection = self._turns.popleft()
            if not connection.backlog:  # dropped
                continue
            number, job = connection.take()
            if connection.backlog:
                self._turns.append(connection)
            calls = self._asker.calls_for(job)
            self._pending += calls
            task = asyncio.create_task(self._answer(connection.writer, number, job))
            connection.tasks.add(task)
            task.add_done_callback(partial(self._finish, connection, calls))

    async def _answer(self, writer: asyncio.StreamWriter, number: int, job: Job) -> None:
        answers = await self._asker.answer(job)
        reply = {"id": number, "answers": [answer.to_json() for answer in answers]}
        with suppress(ConnectionError):  # the client left
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()

    def _finish(self, connection: Connection, calls: int, task: asyncio.Task[None]) -> None:
        connection.tasks.discard(task)
        self._pending -= calls
        self._report(task)
        self._take_up()

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.stopped.done():
            error = task.exception()
            if error is not None:
                self.stopped.set_exception(error)


async def _beat(writer: asyncio.StreamWriter) -> None:
    """Tell a client again and again that this process still runs."""
    while not writer.is_closing():
        if not writer.transport.get_write_buffer_size():  # else it has enough to read
            writer.write(b'{"alive": true}\n')
        await asyncio.sleep(BEAT_S)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, of any length, holding little more than one of them."""
    start: list[bytes] = []
    size = 0
    while chunk := await reader.read(_CHUNK):
        head, *rest = chunk.split(b"\n")
        start.append(head)
        size += len(head)
        if size > _LONGEST_LINE:
            raise ConnectionError("a line without an end")
        if not rest:
            continue
        yield b"".join(start)
        for line in rest[:-1]:
            yield line
        start, size = rest[-1:], len(rest[-1])


async def work(setup: Mapping[str, Any]) -> None:
    """Serve clients until SIGTERM comes.

    Raises:
        ConfigError: the settings cannot be worked with here.
    """
    config = judge_of(setup["config"])
    index, count = setup["share"]
    books, text, where = setup["books"], setup["template"], setup["where"]
    spending = None if books is None else Spending(Path(books), 1 + index)
    template = None if text is None else JudgeTemplate(text)
    asking = Asker(config, (index, count), where=where, spending=spending, template=template)
    async with asking as asker:
        worker = Worker(asker, setup["token"])
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        try:
            server = await asyncio.start_server(
                worker.welcome, setup["host"], setup["port"], reuse_address=False, reuse_port=True
            )
        except OSError as error:
            raise ConfigError(
                f"{setup['where']}.host: a worker cannot listen on {setup['host']}:{setup['port']} "
                f"({error.strerror}); give an address of this machine, such as 127.0.0.1"
            ) from error
        worker.port = server.sockets[0].getsockname()[1]
        print(json.dumps({"port": worker.port}), flush=True)
        try:
            await worker.stopped
        finally:
            server.close()
            await worker.close()


def main() -> int:
    """The exit status: 0 after an orderly end, 2 if the settings cannot be worked with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer's: it finishes its step
    line = sys.stdin.readline()
    if not line:
        return 0
    end_with_parent()
    gc.freeze()  # modules stay: collections need not walk through them, a fifth of a call's time
    try:
        asyncio.run(work(json.loads(line)))
    except ConfigError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
