"""A process that compares answers with the right ones.

    python -m rvpo.rewards.mathematics.worker SECONDS

It reads `{"right", "answer", "boxed"}`, one a line, and writes what `verdict` says of each. An
answer can be anything, such as 9^9^9^9: what takes too long is given up after SECONDS of computing,
or ends the process where nothing else can.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from math_verify import (  # type: ignore[import-untyped]
    ExprExtractionConfig,
    LatexExtractionConfig,
    StringExtractionConfig,
    parse,
    verify,
)

_MEMORY: Final = 4 * 2**30
_LONGEST: Final = 20000
"""Characters at the end of an answer that are read."""
_LETTERS: Final = tuple("ABCDEFGHIJ")
_NUMBER: Final = re.compile(r"[$ ]*[-+]?[\d,. ]+%?")


class _TooLongError(BaseException):
    """The time is over; none of the libraries catches it."""


def verdict(right: str, answer: str, *, boxed: bool) -> bool | str:
    """True or False, or the reason why the right answer cannot be compared with.

    Args:
        right: the right answer: what stands behind `####` (GSM8K), in `\\boxed`, in `$`, or all.
        boxed: an answer counts in `\\boxed` alone.
    """
    right = right.rpartition("####")[2].strip()
    expected = _expected(right)
    if not expected:
        return f"the right answer {right[:60]!r} cannot be read"
    last = _last_box(answer)
    if last is None and boxed:
        return False
    text = answer[-_LONGEST:] if last is None else f"\\boxed{{{last}}}"
    found = _read(text, is_letter=right in _LETTERS)
    return bool(verify(list(expected), found, timeout_seconds=0))


@lru_cache(maxsize=4096)
def _expected(right: str) -> tuple[Any, ...]:
    marked = any(mark in right for mark in ("\\boxed", "$", "\\(", "\\["))
    text = right if marked or _NUMBER.fullmatch(right) else f"${right}$"
    return tuple(_read(text, is_letter=right in _LETTERS))


def _read(text: str, *, is_letter: bool) -> list[Any]:
    targets: list[Any] = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    if is_letter:  # of a choice
        targets.append(StringExtractionConfig(strings=_LETTERS))
    return list(parse(text, targets, parsing_timeout=0))


def _last_box(text: str) -> str | None:
    """Contents of the last `\\boxed{…}` that is closed; None where there is none."""
    starts = [each.end() for each in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts[-20:]):
        depth = 1
        for at in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if not depth:
                return text[start:at]
    return None


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """End what takes longer: by an exception, and if that is not heard, by the kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(*_: object) -> None:
    raise _TooLongError


def main() -> None:
    """Answer until nobody asks any longer."""
    seconds = int(sys.argv[1])
    logging.disable()
    signal.signal(signal.SIGPROF, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for whoever started this
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            with _limited(seconds):
                said = verdict(question["right"], question["answer"], boxed=question["boxed"])
        except _TooLongError:
            said = f"comparing takes more than {seconds} s of computing"
        except (Exception, RecursionError) as error:  # of a parser, on the text of a policy
            said = f"comparing ended in {type(error).__name__}"
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
