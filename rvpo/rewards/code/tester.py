"""One program against its tests."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from rvpo.rewards.code import checking, finding, naming, remote, serving, wire
from rvpo.rewards.code.cases import Called, Case, Printed, Written
from rvpo.runtime.sandbox.program import Ended, Isolation, Limits, Program, pumped
from rvpo.types import Failed

_PROGRAM: Final = "program.py"
_MOST_SLOW: Final = 2
"""Tests that may run out of time before the rest of them count as failed."""
_MOST_LONG: Final = 10
"""Tests of calls whose time of computing they have together."""
_OUT_OF_TIME: Final = (128 + signal.SIGXCPU, 128 + signal.SIGKILL)
_NUMBER: Final = re.compile(r"[+-]?(\d{1,300}\.?\d{0,300}|\.\d{1,300})([eE][+-]?\d{1,3})?")
_CLOSE: Final = 1e-6
"""Relative and absolute distance at which a number equals an expected one with a decimal point."""


@dataclass(frozen=True)
class Tester:
    """Runs programs against tests.

    Args:
        limits: those of each test; see `Limits`.
        isolation: see `Isolation`.
        to_the_end: the tests behind a failed one are run too.
    """

    limits: Limits
    isolation: Isolation = "namespaces"
    to_the_end: bool = False

    def passed(self, code: str, cases: Sequence[Case]) -> list[bool] | Failed:
        """True or False of each test, or of each part of one; Failed where one cannot be run.

        Raises:
            SandboxError: a program could not be started, which says nothing about it.
        """
        verdicts: list[bool] = []
        asked = [case for case in cases if not isinstance(case, Printed)]
        printed = [case for case in cases if isinstance(case, Printed)]
        slow = 0
        for case in printed:
            ended = self._run(code, case)
            slow += ended.exceeded == "time" or ended.status in _OUT_OF_TIME
            verdicts.append(_prints(ended, case))
            if not (self.to_the_end or verdicts[-1]):
                return verdicts
            if slow == _MOST_SLOW:
                verdicts += [False] * (len(printed) - len(verdicts))
                break
        for verdict in self._answers(code, asked) if asked else ():
            if isinstance(verdict, Failed):
                return verdict
            verdicts += verdict
        return verdicts

    def _run(self, code: str, case: Printed) -> Ended:
        program = Program({_PROGRAM: code}, (_PROGRAM,), self.isolation)
        return program.run(case.given.encode(errors="replace"), self.limits)

    def _answers(
        self, code: str, cases: Sequence[Called | Written]
    ) -> Iterator[list[bool] | Failed]:
        """The verdicts of tests that call the program, which is a process of its own."""
        try:
            tests = json.dumps([_test(case) for case in cases]).encode()
        except (TypeError, ValueError) as error:
            yield Failed(f"a test cannot be handed over as JSON: {error}")
            return
        seconds = self.limits.seconds * min(len(cases), _MOST_LONG)
        whole = Limits(seconds, self.limits.memory_mb, self.limits.files_mb)
        with ExitStack() as stack:
            asked, to_program = _pipe(stack)
            answers, from_program = _pipe(stack)
            files = _sources() | {wire.SOLUTION_FILE: code}
            answering = ("-m", serving.__name__, str(self.limits.seconds))
            served = Program(files, answering, self.isolation)
            stack.enter_context(served.started(whole, asked.fileno(), from_program.fileno()))
            asked.close()  # so that each side hears of the other's end
            from_program.close()
            kept = (answers.fileno(), to_program.fileno())
            asking = ("-m", checking.__name__, *map(str, kept), str(self.limits.clock_s))
            checks = Program(_sources(), asking, self.isolation)
            pipe = subprocess.PIPE
            process = stack.enter_context(checks.started(whole, pipe, pipe, kept))
            answers.close()
            to_program.close()
            output = pumped(process, tests, whole).output
        lines = output.splitlines()[: len(cases)]
        for number, line in enumerate(lines):
            verdict = json.loads(line)
            yield Failed(f"test {number + 1}: {verdict}") if isinstance(verdict, str) else verdict
        yield [False] * (len(cases) - len(lines))


def _prints(ended: Ended, case: Printed) -> bool:
    if ended.exceeded or ended.status:
        return False
    return _same_lines(ended.output.decode(errors="replace"), case.expected)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """(read, write) ends, which are closed with the stack at the latest."""
    read, write = os.pipe()
    reading = stack.enter_context(os.fdopen(read, "rb", buffering=0))
    return reading, stack.enter_context(os.fdopen(write, "wb", buffering=0))


@cache
def _sources() -> dict[str, str]:
    """The two sides of the dialogue, as files of a package that has nothing else."""
    files = {
        f"{folder}/__init__.py": "" for folder in ("rvpo", "rvpo/rewards", "rvpo/rewards/code")
    }
    for module in (wire, serving, remote, naming, finding, checking):
        assert module.__file__ is not None
        path = f"{module.__name__.replace('.', '/')}.py"
        files[path] = Path(module.__file__).read_text(encoding="utf-8")
    return files


def _test(case: Called | Written) -> dict[str, Any]:
    if isinstance(case, Called):
        return {"call": case.function, "given": case.given, "expected": case.expected}
    return {"code": case.code, "entry": case.entry}


def _same_lines(printed: str, expected: str) -> bool:
    """True where the words of each line are the same, but for space and numbers.

    A number is the same in all spellings of its value (`1.0`, `1`, `1e0`), as for LiveCodeBench;
    where the expected one has a decimal point, it may be off by `_CLOSE`.
    """
    mine, theirs = _lines(printed), _lines(expected)
    return len(mine) == len(theirs) and all(
        len(a) == len(b) and all(map(_same_word, a, b)) for a, b in zip(mine, theirs, strict=True)
    )


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.rstrip().splitlines()]


def _same_word(mine: str, theirs: str) -> bool:
    if mine == theirs:
        return True
    if not (_NUMBER.fullmatch(mine) and _NUMBER.fullmatch(theirs)):
        return False
    if Decimal(mine) == Decimal(theirs):
        return True
    if "." not in theirs:
        return False
    return math.isclose(float(mine), float(theirs), rel_tol=_CLOSE, abs_tol=_CLOSE)
