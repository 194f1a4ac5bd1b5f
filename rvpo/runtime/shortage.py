"""Memory that runs out: the libraries' words for it, and one sentence about what to change."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rvpo.errors import RvpoError, ShortageError

# A sample or a row may speak of memory too, so nothing counts that is quoted, but vLLM's way to
# repeat an error of a worker.
_UNQUOTED: Final = r"""^(?:[^'"`{]|(?<=\w)'(?=\w)|(?<=failed with error )['"])*?"""
# Allocators, drivers and the libraries on top of them, each with whose memory it is; the last is
# the system's to any program.
_WORDS: Final = re.compile(
    _UNQUOTED + r"(?P<words>\b(?:CUDA|HIP|XPU|MPS|Triton|GPU)\b[^.;,]{0,40}\bout of memory"
    r"|CUDA_ERROR_OUT_OF_MEMORY|\bOutOfMemoryError\b|hipErrorOutOfMemory|cudaErrorMemoryAllocation"
    r"|\b(?:CU|HIP|ROC)[A-Z]+_\w*ALLOC\w*_FAILED|Allocator: (?:can't allocate|not enough) memory"
    r"|not enough GPU memory|^out of memory|Cannot allocate memory)",
    re.IGNORECASE,
)
_LIBRARIES: Final = frozenset({"torch", "triton", "vllm", "deepspeed", "safetensors_rust"})
"""Packages whose own classes of errors tell of memory."""
_AGAIN: Final = "go on with --resume, or start again where there is no checkpoint"
_BEFORE: Final = 60
"""Characters before the words that may belong to them."""
_SHOWN: Final = 240


def words_of_shortage(error: BaseException) -> str | None:
    """The words of whoever ran out of memory, found in an error or in what it was raised from; None
    where memory was not the matter. An error of rvpo's own is a sentence already, and one about a
    value (`ValueError`, `KeyError`, ...) may quote a text that speaks of memory."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if isinstance(each, RvpoError):
            return None
        if isinstance(each, MemoryError):
            return str(each) or "Python has no memory left"
        if isinstance(each, OSError) and _is_without_memory(each):
            return str(each)
        if any(kind.__name__ == "OutOfMemoryError" for kind in type(each).__mro__):
            return (
                shortage_line(str(each))
                or str(each).partition("\n")[0]
                or "a device has no memory left"
            )
        if _tells(each) and (line := shortage_line(str(each))) is not None:
            return line
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return None


def _is_without_memory(error: OSError) -> bool:
    # Libraries in Rust, such as safetensors, write the number into the text.
    return error.errno == errno.ENOMEM or str(error).endswith(f"(os error {errno.ENOMEM})")


def _tells(error: BaseException) -> bool:
    """True of the classes in which libraries tell what a device or the system answered."""
    # vLLM raises `Exception` itself for an error of its other process.
    return (
        isinstance(error, RuntimeError)
        or type(error) is Exception
        or type(error).__module__.partition(".")[0] in _LIBRARIES
    )


def shortage_line(text: str) -> str | None:
    """The first line of a text that says that memory ran out, without what a log writes before it
    and the advice that torch writes after it; None where no line does."""
    for line in text.splitlines():
        if found := _WORDS.match(line):
            start = max(0, found.start("words") - _BEFORE)
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
