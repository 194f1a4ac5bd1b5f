"""The processes that compare answers, kept for the whole run."""

from __future__ import annotations

import atexit
import json
import queue
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from rvpo.runtime.environment import child_environment
from rvpo.runtime.process import python_module

_MODULE: Final = "rvpo.rewards.mathematics.worker"


class Claim(NamedTuple):
    """An answer that is to be compared."""

    right: str
    answer: str
    boxed: bool


class Comparer:
    """One process; it is started with the first claim, and again after one that ended it."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None

    def ask(self, claim: Claim) -> bool | str:
        """True or False, or why there is no verdict."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(claim._asdict()) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            return f"comparing takes more than {self._seconds} s of computing, or too much memory"
        said: bool | str = json.loads(line)
        return said

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [*python_module(_MODULE), str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                encoding="utf-8",
                errors="surrogatepass",
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                self.close()
                raise RuntimeError(f"the process {_MODULE} ended before it was asked anything")
        return self._process


class Comparers:
    """Several processes that share what is asked.

    Args:
        count: number of them.
        seconds: time of computing for a claim.
    """

    def __init__(self, count: int, seconds: int) -> None:
        self._all = [Comparer(seconds) for _ in range(count)]
        self._free: queue.SimpleQueue[Comparer] = queue.SimpleQueue()
        for comparer in self._all:
            self._free.put(comparer)
        atexit.register(self.close)

    def ask(self, claims: Sequence[Claim]) -> list[bool | str]:
        """The verdict of `Comparer.ask` on each."""
        # As many threads as there are processes: none has to wait for a free one.
        with ThreadPoolExecutor(len(self._all), "mathematics") as pool:
            return list(pool.map(self._ask, claims))

    def close(self) -> None:
        """End the processes; the next claim would start them again."""
        for comparer in self._all:
            comparer.close()

    def _ask(self, claim: Claim) -> bool | str:
        comparer = self._free.get()
        try:
            return comparer.ask(claim)
        finally:
            self._free.put(comparer)
