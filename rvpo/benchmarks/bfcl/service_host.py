"""The other end of the process that runs BFCL's services."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from rvpo.benchmarks.bfcl.distribution import Wheel
from rvpo.errors import ConfigError
from rvpo.runtime.environment import child_environment
from rvpo.runtime.process import Log, python_module

MadeCall = tuple[str, Sequence[Any], Mapping[str, Any]]
TOO_LONG: Final = "Error during execution: it took too long, or too much memory"
_PATIENCE_S: Final = 5.0


class ServiceHost:
    """Asks a worker of its own, see `rvpo.benchmarks.bfcl.worker`, and starts another where a
    question has ended it.

    Args:
        wheel: the published one, for its code is run.
        seconds: processor time that one question may take.
    """

    def __init__(self, wheel: Wheel, seconds: float = 20.0) -> None:
        self._wheel = wheel
        self._seconds = seconds
        self._log = Log()
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._log.close()

    def answers(
        self, scene: Mapping[str, Any], turns: Sequence[Sequence[MadeCall]]
    ) -> list[str] | None:
        """The answer to each call of all turns; None where they take too long.

        Raises:
            ConfigError: the services do not run here.
        """
        found: list[str] | None = self._ask({"scene": scene, "turns": turns, "wanted": None})
        return found

    def failing(
        self,
        scene: Mapping[str, Any],
        turns: Sequence[Sequence[MadeCall]],
        wanted: Sequence[Sequence[str]],
    ) -> tuple[str, str] | None:
        """Reason that a conversation is wrong, and a sentence; None where it is right.

        Raises:
            ConfigError: the services do not run here.
        """
        question = {"scene": scene, "turns": turns, "wanted": wanted}
        found = self._ask(question, ended=["error", TOO_LONG])
        return None if found is None else (found[0], found[1])

    def _ask(self, question: Mapping[str, Any], ended: Any = None) -> Any:
        worker = self._started()
        assert worker.stdin is not None
        assert worker.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            worker.stdin.write(json.dumps(question) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
        if line:
            return json.loads(line)
        status = self._end()
        if status >= 0:  # it ended by itself, and not by a signal
            last = (self._log.lines() or ["no reason given"])[-1]
            raise ConfigError(
                f"benchmarks.bfcl.categories: the simulated services do not run here ({last}); "
                "mend that, or leave the multi_turn categories out"
            )
        return ended

    def _started(self) -> subprocess.Popen[str]:
        if self._worker is None:
            command = python_module("rvpo.benchmarks.bfcl.worker")
            self._worker = subprocess.Popen(
                [*command, self._wheel.version, str(self._wheel.path), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log.file,
                text=True,
                encoding="utf-8",
                env=child_environment(),
            )
        return self._worker

    def _end(self) -> int:
        worker, self._worker = self._worker, None
        if worker is None:
            return 0
        assert worker.stdin is not None
        assert worker.stdout is not None
        with suppress(BrokenPipeError):
            worker.stdin.close()
        try:
            status = worker.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            status = worker.wait()
        worker.stdout.close()
        return status
