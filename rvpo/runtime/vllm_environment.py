"""The environment of a vLLM engine or server: what it is told nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def vllm_environment(
    environment: Mapping[str, str], cpu_kv_cache_gib: int, sockets: Path | None
) -> dict[str, str]:
    """An environment as vLLM needs it; its own words stay, where it has them.

    Args:
        cpu_kv_cache_gib: memory for keys and values where vLLM runs on CPUs, in GiB.
        sockets: the folder where its processes meet; None for an engine within this process.
    """
    usual = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    ours = {"VLLM_CPU_KVCACHE_SPACE": str(cpu_kv_cache_gib)}
    if sockets is not None:
        ours["VLLM_RPC_BASE_PATH"] = str(sockets)
        # Threads that spin until the others are done slow one another down tenfold where
        # something else, such as the trainer, wants the same cores.
        usual["OMP_WAIT_POLICY"] = "PASSIVE"
    return usual | dict(environment) | ours
