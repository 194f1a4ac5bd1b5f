"""Options of other libraries in the log of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rvpo.commands.passed_on import passed_on
from rvpo.runtime.ranks import Ranks
from tests.configs import tiny_config

CPU, GPU = (Ranks(rank=0, size=1, device=torch.device(kind)) for kind in ("cpu", "cuda"))


def said(engine: dict[str, Any], ranks: Ranks, **update: Any) -> list[str]:
    config = tiny_config(Path("model"), rollout={"engine": engine}, update=update)
    return list(passed_on(config.rollout, ranks, config.update.deepspeed))


def test_a_run_without_options_says_nothing() -> None:
    assert said({"name": "transformers"}, CPU) == []
    assert said({"name": "transformers"}, GPU) == []
    assert said({"name": "vllm"}, CPU) == []


def test_the_log_names_every_option_with_its_value() -> None:
    options = {"max_num_seqs": 8, "kv_cache_dtype": "fp8", "block_size": None}
    zero = {"zero_optimization": {"overlap_comm": False}}
    assert said({"name": "vllm", "options": options}, CPU, deepspeed=zero) == [
        'vllm is given max_num_seqs=8, kv_cache_dtype="fp8"',
        'DeepSpeed is given zero_optimization={"overlap_comm": false}',
    ]


def test_the_log_names_the_defaults_beside_a_trainer_too() -> None:
    assert said({"name": "vllm", "options": {"enforce_eager": True}}, GPU) == [
        "vllm is given max_num_seqs=256, max_num_batched_tokens=8192, enforce_eager=true"
    ]
