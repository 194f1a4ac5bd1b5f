"""vLLM's reasons not to start, in its own words, and the settings that they call for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rvpo.errors import EngineError, ShortageError
from rvpo.rollout.vllm.failure import lighter, not_started
from rvpo.rollout.vllm.settings import VllmConfig
from rvpo.runtime.shortage import needing_memory

NO_BLOCKS = (
    "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
    "initializing the engine (this flag also controls CPU memory reservation on the CPU backend, "
    "despite its name)."
)
TOO_SHORT = (
    "To serve at least one request with the model's max seq len (32768), (6.00 GiB KV cache is "
    "needed, which is larger than the available KV cache memory (2.10 GiB). Try increasing "
    "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
)
FREE = (
    "Free memory on device cuda:0 (30.12/79.10 GiB) on startup is less than desired GPU memory "
    "utilization (0.4, 31.64 GiB). Decrease GPU memory utilization or reduce GPU memory used by "
    "other processes."
)
PROFILING = (
    "Error in memory profiling. Initial free memory 30.1 GiB, current free memory 33.2 GiB. This "
    "happens when other processes sharing the same container release GPU memory while vLLM is "
    "profiling during initialization."
)
LOADING = "CUDA out of memory. Tried to allocate 1.45 GiB. GPU 0 has a total capacity of 79.10 GiB"
ELSEWHERE = "Engine core initialization failed. See root cause above. Failed core proc(s): {}"


@pytest.mark.parametrize(
    ("error", "on_gpu", "told"),
    [
        (ValueError(NO_BLOCKS), True, "raise rollout.engine.gpu_memory, which is 0.4"),
        (ValueError(NO_BLOCKS), False, "raise rollout.engine.cpu_kv_cache_gib, which is 1"),
        (ValueError(TOO_SHORT), True, "or lower rollout.engine.max_context_tokens"),
        (ValueError(FREE), True, "lower rollout.engine.gpu_memory, which is 0.4, set update.off"),
        (AssertionError(PROFILING), True, "leave the GPU to this run alone"),
        (torch.OutOfMemoryError(LOADING), True, "lower rollout.engine.gpu_memory, which is 0.4"),
    ],
)
def test_memory_that_vllm_lacks_at_its_start_names_the_setting(
    error: Exception, on_gpu: bool, told: str
) -> None:
    sentence = not_started("some/model", error, VllmConfig(), on_gpu=on_gpu)
    assert isinstance(sentence, ShortageError)
    assert str(sentence).startswith("vLLM did not start on 'some/model': ")
    assert told in str(sentence)
    assert "gpu_memory_utilization" not in str(sentence)  # a name that is no setting of rvpo's


def test_another_reason_is_told_as_it_is() -> None:
    sentence = not_started("some/model", ValueError("no such shape"), VllmConfig(), on_gpu=True)
    assert type(sentence) is EngineError
    assert str(sentence) == "vLLM did not start on 'some/model': no such shape"


@pytest.mark.parametrize("words", [NO_BLOCKS, FREE, f"(EngineCore pid=7) ERROR {LOADING}"])
def test_an_engine_of_its_own_process_left_its_reason_in_the_log(
    words: str, tmp_path: Path
) -> None:
    body = (
        "import sys; from rvpo.rollout.vllm.failure import not_started\n"
        "from rvpo.rollout.vllm.settings import VllmConfig\n"
        f"print({words!r}, file=sys.stderr, flush=True)\n"
        f"print(repr(not_started('m', RuntimeError({ELSEWHERE!r}), VllmConfig(), on_gpu=True)))\n"
    )
    with (tmp_path / "log").open("w+b") as log:
        said = subprocess.run(
            [sys.executable, "-c", body], stdout=subprocess.PIPE, stderr=log, env=dict(os.environ)
        ).stdout
    assert said.startswith(b"ShortageError(")
    assert b"rollout.engine.gpu_memory, which is 0.4" in said


def test_waking_an_engine_that_finds_no_memory_is_a_sentence() -> None:
    words = "CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62"
    changes = list(lighter(VllmConfig(gpu_memory=0.6)))
    with (
        pytest.raises(ShortageError, match=r"lower rollout\.engine\.gpu_memory, which is 0\.6, or"),
        needing_memory("while vLLM generated", changes),
    ):
        raise RuntimeError(words)
