"""Judge workers on rank 0: started, started again when they die, ended with the run."""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import IO, Final

from rvpo.config.judge import JudgeConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.client import JudgeAddresses
from rvpo.judge.handshake import obituary
from rvpo.runtime.subprocess import (
    Log,
    child_environment,
    ending,
    hold_port,
    let_end,
    python_module,
    see_end,
    start_child,
)

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
        program: Sequence[str] = _PROGRAM,
        judge_end: Callable[[], str | None] = lambda: None,
    ) -> JudgeWorkers:
        """Start `config.workers` processes and wait until they listen.

        Args:
            program: command that runs as a worker.
            judge_end: reason that the judge will never answer again, once it is so.

        Raises:
            ConfigError: `config.host` is no address of this machine.
            RewardError: a worker does not start; its own sentence says why.
        """
        token = secrets.token_hex(32)
        with ExitStack() as stack:
            workers: list[_Worker] = []
            stack.callback(_end, workers)
            for index in range(config.workers):
                workers.append(_Worker(program, config, token, index))
            until = time.monotonic() + START_S
            for worker in workers:
                worker.wait_until_listening(until)
            stack.pop_all()
        return cls(workers, token, judge_end)

    def close(self) -> None:
        """End all workers, within seconds. A second call does nothing."""
        self._closing.set()
        self._thread.join()
        _end(self._workers)

    def _supervise(self) -> None:
        while not self._closing.wait(_POLL_S):
            sentence = self._judge_end()
            for worker in self._workers:
                if sentence is not None:
                    worker.give_up(sentence)
                worker.look_after()


class _Worker:
    """One worker: its port for life, and the process there at the moment."""

    def __init__(self, program: Sequence[str], config: JudgeConfig, token: str, index: int) -> None:
        try:
            self._held = hold_port(config.host, socket.SO_REUSEPORT)
        except OSError as error:
            raise ConfigError(
                f"judge.host: workers cannot listen on {config.host!r} "
                f"({error.strerror or error}); give an address of this machine, such as 127.0.0.1"
            ) from error
        port: int = self._held.getsockname()[1]
        self.address = (config.host, port)
        self._token = token
        self._name = f"judge worker {index + 1} of {config.workers}"
        self._program = program
        hello = {
            "config": config.model_dump(mode="json"),
            "token": token,
            "host": config.host,
            "port": port,
            "share": [index, config.workers],
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
        line = _first_line(self._process.stdout, until)
        if line is None:
            raise RewardError(f"{self._name} did not listen within {START_S:.0f} s")
        if "port" in _object(line):
            return
        with suppress(subprocess.TimeoutExpired):  # it is ending; how, goes into the sentence
            self._process.wait(GRACE_S)
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
        elif self._process.poll() is not None:
            self._bury()

    def give_up(self, sentence: str) -> None:
        """End it for good, and tell every client why. A second call does nothing."""
        if self._obituary is not None:
            return
        if self._start_at is None:
            let_end(self._process)
            see_end(self._process, GRACE_S)
            _close_pipes(self._process)
        self._announce(sentence)

    def stop(self) -> None:
        """Ask it to end."""
        let_end(self._process)

    def end(self, until: float) -> None:
        """See it end; kill it after `until`."""
        see_end(self._process, until - time.monotonic())
        _close_pipes(self._process)
        for connection in self._told:
            connection.close()
        self._held.close()
        self._log.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = start_child(
            self._program, child_environment(), stdout=subprocess.PIPE, stderr=self._log.file
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once, which is noticed where others wait
            process.stdin.write(self._hello)
        return process

    def _bury(self) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        words = self._last_words(_first_line(self._process.stdout, now) or b"")
        _close_pipes(self._process)
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
        status = self._process.poll()
        how = "it did not speak as a worker" if status is None else ending(status)
        return next((f"{how}, {line}" for line in reversed(self._log.lines())), how)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.stop()
    until = time.monotonic() + GRACE_S
    for worker in workers:
        worker.end(until)


def _first_line(pipe: IO[bytes] | None, until: float) -> bytes | None:
    """The line a process prints, or what it printed of one before it ended; None if it takes
    longer."""
    assert pipe is not None
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    text = b""
    while b"\n" not in text:
        if not poller.poll(1000 * max(0.0, until - time.monotonic())):
            return None
        piece = os.read(pipe.fileno(), 4096)
        if not piece:
            break
        text += piece
    return text.partition(b"\n")[0]


def _object(line: bytes) -> dict[str, object]:
    """The JSON object on a line; empty where there is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
