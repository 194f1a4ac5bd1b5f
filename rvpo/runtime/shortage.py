"""Memory that runs out: the libraries' words for it, and one sentence about what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rvpo.errors import RvpoError, ShortageError

# Allocators, drivers and the libraries on top of them; the last is the system's to any program.
_WORDS: Final = re.compile(
    r"out[ _]of[ _]memory|OutOfMemory|cudaErrorMemoryAllocation|_ALLOC_FAILED"
    r"|can't allocate memory|not enough (?:GPU )?memory|Cannot allocate memory",
    re.IGNORECASE,
)
_AGAIN: Final = "go on with --resume, or start again where there is no checkpoint"
_BEFORE: Final = 60
"""Characters before the words that may belong to them."""
_SHOWN: Final = 240


def words_of_shortage(error: BaseException) -> str | None:
    """The words of whoever ran out of memory, found in an error or in what it was raised from; None
    where memory was not the matter. An error of rvpo's own is a sentence already."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if isinstance(each, RvpoError):
            return None
        if isinstance(each, MemoryError):
            return str(each) or "Python has no memory left"
        if (line := shortage_line(str(each))) is not None:
            return line
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return None


def shortage_line(text: str) -> str | None:
    """The first line of a text that says that memory ran out, without what a log writes before it
    and the advice that torch writes after it; None where no line does."""
    for line in text.splitlines():
        if found := _WORDS.search(line):
            start = max(0, found.start() - _BEFORE)
            start = line.find(" ", start) + 1 if start else 0
            end = line.find(" is free", start)
            return line[start : end + 8 if end > 0 else start + _SHOWN].strip()
    return None


@contextmanager
def needing_memory(doing: str, cures: Sequence[str], again: str = _AGAIN) -> Iterator[None]:
    """Say what to change where memory runs out.

    Args:
        doing: the work meanwhile, as in "in the policy update"; empty where nobody knows.
        cures: changes that each take less of it, the best one first.
        again: the way to go on with the work.

    Raises:
        ShortageError: it ran out.
    """
    try:
        yield
    except Exception as error:  # torch, CUDA, NCCL and vLLM have a class of their own each
        words = words_of_shortage(error)
        if words is None:
            raise
        raise ShortageError(
            f"memory ran out{doing and f' {doing}'} ({words}); {', or '.join(cures)}; then {again}"
        ) from error
