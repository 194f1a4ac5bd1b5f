"""The other end of the processes that run BFCL's services."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from rvpo.benchmarks.bfcl.distribution import Wheel
from rvpo.environments import ToolFailed
from rvpo.errors import ConfigError
from rvpo.runtime.environment import child_environment
from rvpo.runtime.process import Log, ending, python_module

MadeCall = tuple[str, Sequence[Any], Mapping[str, Any]]
TOO_LONG: Final = "Error during execution: it took too long, or too much memory"
_NOTHING: Final = {"scene": {"classes": [], "config": {}, "long": False}, "turns": [], "wanted": []}
_LONGEST: Final = 2**31
"""Bytes of an answer."""
_NOT_OURS: Final = (signal.SIGKILL, signal.SIGTERM)
"""Signals from elsewhere, such as of a machine without memory; all others follow from a
question."""


class ServiceHost:
    """Asks workers, see `rvpo.benchmarks.bfcl.worker`: as many as there are questions at the same
    time, each used again for as long as it lives.

    Args:
        wheel: the published one, for its code is run.
        seconds: processor time that one question may take.
    """

    def __init__(self, wheel: Wheel, seconds: float = 20.0) -> None:
        self._command = _command(wheel, seconds)
        self._log = Log()
        self._every: list[Process] = []
        self._idle: list[Process] = []

    async def close(self) -> None:
        """End the workers. Calling it twice does no harm."""
        every, self._every, self._idle = self._every, [], []
        for worker in every:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
        self._log.close()

    async def answers(
        self, scene: Mapping[str, Any], turns: Sequence[Sequence[MadeCall]]
    ) -> list[str] | None:
        """The answer to each call of all turns; None where they take too long.

        Raises:
            ToolFailed: a worker ended, and no question is to blame.
        """
        found: list[str] | None = await self._ask({"scene": scene, "turns": turns, "wanted": None})
        return found

    async def failing(
        self,
        scene: Mapping[str, Any],
        turns: Sequence[Sequence[MadeCall]],
        wanted: Sequence[Sequence[str]],
    ) -> tuple[str, str] | None:
        """Reason that a conversation is wrong, and a sentence; None where it is right.

        Raises:
            ToolFailed: as `answers`.
        """
        question = {"scene": scene, "turns": turns, "wanted": wanted}
        found = await self._ask(question, ended=["error", TOO_LONG])
        return None if found is None else (found[0], found[1])

    async def _ask(self, question: Mapping[str, Any], ended: Any = None) -> Any:
        worker = self._living() or await self._start()
        try:
            line = await _answer(worker, json.dumps(question))
        except asyncio.CancelledError:  # whoever asks next would hear this answer
            worker.kill()
            raise
        if line.endswith(b"\n"):  # else it ended within the line
            self._idle.append(worker)
            return json.loads(line)
        status = await worker.wait()
        if status >= 0:  # it ended by itself
            raise ToolFailed(_cannot_run(self._log.lines()))
        if -status in _NOT_OURS:
            raise ToolFailed(f"the process of the services was ended by signal {-status}")
        return ended

    def _living(self) -> Process | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
        return None

    async def _start(self) -> Process:
        worker = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._log.file,
            env=child_environment(),
            limit=_LONGEST,
        )
        self._every.append(worker)
        return worker


def check_services(wheel: Wheel) -> None:
    """Refuse services that do not run.

    Raises:
        ConfigError: with the reason.
    """
    asked = subprocess.run(
        _command(wheel, seconds=60.0),
        input=json.dumps(_NOTHING) + "\n",
        capture_output=True,
        text=True,
        env=child_environment(),
    )
    if asked.returncode or not asked.stdout:
        log = asked.stderr.splitlines() or [ending(asked.returncode)]
        raise ConfigError(
            f"benchmarks.bfcl.categories: {_cannot_run(log)}; mend that, or leave the multi_turn "
            "categories out"
        )


def _command(wheel: Wheel, seconds: float) -> list[str]:
    worker = python_module("rvpo.benchmarks.bfcl.worker")
    return [*worker, wheel.version, str(wheel.path), str(seconds)]


def _cannot_run(log: Sequence[str]) -> str:
    reason = log[-1] if log else "no reason given"
    return f"the simulated services do not run here ({reason})"


async def _answer(worker: Process, question: str) -> bytes:
    """A line; empty where the worker ends."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with suppress(ConnectionError):
        worker.stdin.write(question.encode() + b"\n")
        await worker.stdin.drain()
    return await worker.stdout.readline()
