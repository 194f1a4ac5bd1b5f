"""The memory allocator of a process that trains and generates on one GPU."""

from __future__ import annotations

import pytest

from rvpo.runtime.environment import allocator_environment, child_environment

NAMES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


def test_segments_grow_unless_the_user_says_something() -> None:
    assert "expandable_segments:True" in allocator_environment({"OTHER": "1"})[NAMES[0]]
    for name in NAMES:
        assert allocator_environment({name: ""}) == {}


def test_another_process_gets_the_words_of_the_user_and_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    ((name, ours),) = allocator_environment({}).items()
    monkeypatch.setenv(name, ours)
    assert name not in child_environment()
    monkeypatch.setenv(name, "max_split_size_mb:128")
    assert child_environment()[name] == "max_split_size_mb:128"


def test_torch_knows_every_word_of_it() -> None:
    """Of its allocators for accelerators only those for GPUs refuse what they do not know, so each
    word is looked for where torch keeps them."""
    from pathlib import Path

    import torch

    library = (Path(torch.__file__).parent / "lib" / "libc10.so").read_bytes()
    for word in allocator_environment({})[NAMES[0]].split(","):
        assert word.partition(":")[0].encode() in library
