"""Judge workers on rank 0: started, started again when they die, ended with the run."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.client import JudgeAddresses
from rvpo.judge.handshake import obituary
from rvpo.judge.template import JudgeTemplate
from rvpo.runtime.port import LOOPBACK, hold_port
from rvpo.runtime.process import PIPE, Child, Log, end_all, python_module

START_S: Final = 60.0
"""Longest time until a worker listens, in seconds: most of it is Python importing, on a busy
machine."""
GRACE_S: Final = 5.0
"""Longest time for workers to end in order, in seconds."""
MOST_DEATHS: Final = 5
DEATHS_WITHIN_S: Final = 60.0
"""A worker that dies so often in so short a time is not started again."""

_PROGRAM: Final = python_module("rvpo.judge.worker.main")
_POLL_S: Final = 0.1
_LOG_BYTES: Final = 2**20


class JudgeWorkers:
    """The worker processes of a run.

    Each keeps its port for life: one that dies is started again there, and clients find it. One
    that dies again and again is given up, and its port tells every client why; all are when the
    judge itself is gone. The processes end with this one, however it ends: their standard input
    closes.
    """

    def __init__(
        self, workers: Sequence[_Worker], token: str, judge_end: Callable[[], str | None]
    ) -> None:
        self.addresses = JudgeAddresses(tuple(worker.address for worker in workers), token)
        self._workers = workers
        self._judge_end = judge_end
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="judge-workers", daemon=True)
        self._thread.start()

    @classmethod
    def start(
        cls,
        config: JudgeConfig,
        host: str = LOOPBACK,
        program: Sequence[str] = _PROGRAM,
        judge_end: Callable[[], str | None] = lambda: None,
        where: str = OWN,
        books: Path | None = None,
    ) -> JudgeWorkers:
        """Start `config.workers` processes and wait until they listen.

        Args:
            host: address that they listen on.
            program: command that runs as a worker.
            judge_end: reason that the judge will never answer again, once it is so.
            where: the section of the settings, for messages.
            books: the file of what the judge has cost; None keeps none.

        Raises:
            ConfigError: `host` is no address of this machine, or the template cannot be read.
            RewardError: a worker does not start; its own sentence says why.
        """
        token, template = secrets.token_hex(32), JudgeTemplate.of(config, where)
        with ExitStack() as stack:
            workers: list[_Worker] = []
            stack.callback(_end_workers, workers)
            for index in range(config.workers):
                workers.append(_Worker(program, config, host, token, index, where, books, template))
            until = time.monotonic() + START_S
            for worker in workers:
                worker.wait_until_listening(until)
            stack.pop_all()
        return cls(workers, token, judge_end)

    def close(self) -> None:
        """End all workers, within seconds. A second call does nothing."""
        self._closing.set()
        self._thread.join()
        _end_workers(self._workers)

    def _supervise(self) -> None:
        while not self._closing.wait(_POLL_S):
            sentence = self._judge_end()
            for worker in self._workers:
                if sentence is not None:
                    worker.give_up(sentence)
                worker.look_after()


class _Worker:
    """One worker: its port for life, and the process there at the moment."""

    def __init__(
        self,
        program: Sequence[str],
        config: JudgeConfig,
        host: str,
        token: str,
        index: int,
        where: str,
        books: Path | None,
        template: JudgeTemplate | None,
    ) -> None:
        try:
            self._held = hold_port(host, socket.SO_REUSEPORT)
        except OSError as error:
            raise ConfigError(
                f"{where}.host: workers cannot listen on {host!r} "
                f"({error.strerror or error}); give an address of this machine, such as 127.0.0.1"
            ) from error
        port: int = self._held.getsockname()[1]
        self.address = (host, port)
        self._token = token
        of = "" if where == OWN else f" of {where}"
        self._name = f"judge worker {index + 1} of {config.workers}{of}"
        self._program = program
        hello = {
            "config": config.model_dump(mode="json"),
            # As it is at the start: the file may be edited for the next run while this one goes on.
            "template": None if template is None else template.text,
            "token": token,
            "host": host,
            "port": port,
            "share": [index, config.workers],
            "where": where,
            "books": None if books is None else str(books),
        }
        self._hello = json.dumps(hello).encode() + b"\n"
        self._log = Log()
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self._start_at: float | None = None  # the next attempt, while there is no process
        self._obituary: bytes | None = None
        self._told: list[socket.socket] = []
        self._process = self._spawn()

    def wait_until_listening(self, until: float) -> None:
        """
        Raises:
            RewardError: it does not.
        """
        line = self._process.first_line(until)
        if line is None:
            raise RewardError(f"{self._name} did not listen within {START_S:.0f} s")
        if "port" in _object(line):
            return
        self._process.wait(GRACE_S)  # it is ending; how, goes into the sentence
        raise RewardError(f"{self._name} did not start: {self._last_words(line)}")

    def look_after(self) -> None:
        """Start it again if it died, or tell why it will not be."""
        self._log.bound(_LOG_BYTES)
        if self._obituary is not None:
            self._tell()
        elif self._start_at is not None:
            if time.monotonic() >= self._start_at:
                self._start_at = None
                self._process = self._spawn()
        elif self._process.status() is not None:
            self._bury()

    def give_up(self, sentence: str) -> None:
        """End it for good, and tell every client why. A second call does nothing."""
        if self._obituary is not None:
            return
        if self._start_at is None:
            end_all([self._process], GRACE_S)
        self._announce(sentence)

    @property
    def process(self) -> Child:
        """The one there at the moment, or the last that was."""
        return self._process

    def close(self) -> None:
        """Give up its port, once its process has ended."""
        for connection in self._told:
            connection.close()
        self._held.close()
        self._log.close()

    def _spawn(self) -> Child:
        return Child(self._program, self._log, stdout=PIPE, hello=self._hello)

    def _bury(self) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        words = self._last_words(self._process.first_line(now) or b"")
        self._process.end(0.0)
        recent = [death for death in self._deaths if now - death < DEATHS_WITHIN_S]
        if len(recent) < MOST_DEATHS:
            self._start_at = now + 0.05 * 2 ** len(recent)
            return
        self._announce(
            f"{self._name} died {len(recent)} times within {DEATHS_WITHIN_S:.0f} s and was not "
            f"started again; the last time: {words}"
        )

    def _announce(self, sentence: str) -> None:
        self._obituary = obituary(self._token, self.address[1], sentence)
        self._held.listen()
        self._held.setblocking(False)

    def _tell(self) -> None:
        """Answer whoever connects with the reason: so every rank learns it, not this one alone."""
        assert self._obituary is not None
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._held.accept()
                # Left open: closing over unread jobs would reset it and take the reason along.
                self._told.append(connection)
                with suppress(OSError):  # it left already
                    connection.sendall(self._obituary)

    def _last_words(self, line: bytes) -> str:
        error = _object(line).get("error")
        if error is not None:
            return str(error)
        if self._process.status() is None:
            return "it did not speak as a worker"
        return self._process.last_words()


def _end_workers(workers: Sequence[_Worker]) -> None:
    end_all([worker.process for worker in workers], GRACE_S)
    for worker in workers:
        worker.close()


def _object(line: bytes) -> dict[str, object]:
    """The JSON object on a line; empty where there is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
