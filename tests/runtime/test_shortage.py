"""Memory that runs out, in the words of those that say so."""

from __future__ import annotations

import errno
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import ConfigError, RewardError, RvpoError, ShortageError
from rvpo.model_files import reading_model
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.shortage import needing_memory, words_of_shortage

TORCH = (
    "CUDA out of memory. Tried to allocate 2.90 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.56 GiB is free. Including non-PyTorch memory, this process has 77.53 GiB memory in "
    "use. Of the allocated memory 70.11 GiB is allocated by PyTorch, and 5.20 GiB is reserved by "
    "PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
TEXTS = (
    TORCH,
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "HIP out of memory. Tried to allocate 20.00 MiB.",
    "Triton Error [CUDA]: out of memory",
    "cuMemCreate failed: CUDA_ERROR_OUT_OF_MEMORY",
    "NCCL error in: NCCLUtils.cpp:93, unhandled cuda error\nLast error:\n"
    "Cuda failure 2 'out of memory'",
    "Call to collective_rpc method failed: CUDA out of memory. Tried to allocate 1.00 GiB.",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 8796093022208 bytes. Error code 12 (Cannot allocate memory)",
    "CUDA out of memory occurred when warming up sampler with 1024 dummy requests.",
    "Worker failed with error 'CUDA out of memory. Tried to allocate 1.00 GiB.', please check the "
    "stack trace above for the root cause",
    "unable to mmap 4096 bytes from file </models/it's/a.safetensors>: Cannot allocate memory (12)",
    "CUDA driver error: out of memory",
    "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB).",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "out of memory",
)


class OtherError(RuntimeError):
    """A class of a library's own, as each of them has one."""


def raised_from(error: Exception, depth: int) -> Exception:
    """The error as the cause of others, which do not repeat it."""
    for _ in range(depth):
        outer = ValueError("could not go on")
        outer.__cause__ = error
        error = outer
    return error


@given(
    text=st.sampled_from(TEXTS),
    kind=st.sampled_from([RuntimeError, torch.OutOfMemoryError, OtherError, Exception]),
    depth=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_whatever_runs_out_of_memory_is_one_sentence_that_names_a_setting(
    text: str, kind: type[Exception], depth: int
) -> None:
    error = raised_from(kind(text), depth)
    with (
        pytest.raises(ShortageError) as raised,
        needing_memory("in the policy update", ["lower update.micro_batch_tokens"]),
    ):
        raise error
    said = str(raised.value)
    assert said.startswith("memory ran out in the policy update (")
    assert "; lower update.micro_batch_tokens; then go on with --resume" in said
    assert "\n" not in said
    assert len(said) < 500
    assert raised.value.__cause__ is error


@given(
    text=st.sampled_from([*TEXTS, "could not convert string to float: 'it ran out of memory'"]),
    before=st.sampled_from(["", "row 3 is no number: ", "'answer': "]),
    kind=st.sampled_from(
        [
            *(ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError),
            *(ArithmeticError, StopIteration, OSError, ConnectionError, EOFError, ImportError),
        ]
    ),
    depth=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_an_error_about_a_value_may_quote_what_it_likes(
    text: str, before: str, kind: type[Exception], depth: int
) -> None:
    assert words_of_shortage(raised_from(kind(before + text), depth)) is None
    assert words_of_shortage(json.JSONDecodeError(text, text, 0)) is None
    assert words_of_shortage(UnicodeDecodeError("utf-8", b"x", 0, 1, text)) is None


@given(text=st.sampled_from(TEXTS[:5]), kind=st.sampled_from([RuntimeError, OtherError, Exception]))
@settings(deadline=None, max_examples=15)
def test_nor_does_a_quotation_count_in_an_error_of_a_library(
    text: str, kind: type[Exception]
) -> None:
    for quoted in (repr(text), json.dumps({"answer": text}), f"`{text}`", f'reads "I was {text}"'):
        assert words_of_shortage(kind(f"row 3 is no number: {quoted}")) is None
    assert words_of_shortage(kind("the sample says that it ran out of memory")) is None


def test_what_a_value_error_was_raised_from_counts() -> None:
    assert words_of_shortage(raised_from(OSError(errno.ENOMEM, "fork"), 2)) == "[Errno 12] fork"
    rust = "Cannot allocate memory (os error 12)"
    assert words_of_shortage(OSError(rust)) == rust
    assert words_of_shortage(OSError(errno.ENOSPC, "out of memory")) is None
    assert words_of_shortage(torch.OutOfMemoryError("no room")) == "no room"


def test_of_torchs_words_the_amounts_are_kept() -> None:
    assert (
        words_of_shortage(torch.OutOfMemoryError(TORCH)) == TORCH[: TORCH.index(" Including")][:-1]
    )


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 8.00 TiB")])
def test_pythons_own_memory_is_memory(error: MemoryError) -> None:
    with pytest.raises(ShortageError, match=r"memory ran out \((Python|Unable)"):
        raise_within(error)


def test_a_real_allocation_that_fails_is_told() -> None:
    with pytest.raises(ShortageError), needing_memory("", ["take less"]):
        torch.empty(2**55, dtype=torch.int8)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        KeyError("memory"),
        RewardError("reward 'sql' raised RuntimeError: CUDA out of memory"),
        ConfigError("model.path: out of memory"),
    ],
)
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        raise_within(error)
    assert raised.value is error


def test_what_nobody_is_to_see_of_an_earlier_error_is_no_cause() -> None:
    error = KeyError("name")
    error.__context__ = torch.OutOfMemoryError(TORCH)
    assert words_of_shortage(error) is not None
    error.__suppress_context__ = True
    assert words_of_shortage(error) is None


def test_a_model_that_does_not_fit_is_no_broken_model() -> None:
    with pytest.raises(ShortageError), needing_memory("", []), reading_model("some/model"):
        raise torch.OutOfMemoryError(TORCH)


def test_ranks_leave_memory_to_those_who_know_of_it() -> None:
    with pytest.raises(torch.distributed.DistBackendError), Ranks.alone().patience(1):
        raise torch.distributed.DistBackendError(TEXTS[7])


def raise_within(error: Exception) -> None:
    with needing_memory("", ["take less"]):
        raise error


def test_it_is_an_error_that_ends_in_a_sentence() -> None:
    assert issubclass(ShortageError, RvpoError)
