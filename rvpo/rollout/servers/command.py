"""The command line and the environment of one server that generates for a run.

It starts with weights that mean nothing where the trainer sends all of them, and with the model's
own where the trainer sends adapters alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rvpo.rollout.engine_config import EngineInputs
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.servers.place import ServerPlace
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.supports import MOST_TOLD
from rvpo.rollout.thought_budget import ThoughtBudget
from rvpo.rollout.vllm.options import has_scales
from rvpo.runtime.seed import derived_seed
from rvpo.runtime.vllm_server import PROGRAM, ServerStart, server_environment

GLOO: Final = "rvpo_gloo"
"""The name under which vLLM knows the transfer by gloo, of `rvpo.rollout.servers.gloo`."""
ADAPTER_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks of adapters for which vLLM can set memory aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A run's model, as far as its servers have to know."""

    path: str
    """A folder or a Hub id, as `resolve_model` returns it."""
    dtype: str = "auto"
    """Type of the weights that compute, such as "bfloat16"; that of the files if left out."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    seed: int = 0
    """Seed of the run."""
    adapter: LoraConfig | None = None
    """The adapters that the servers are given in place of weights; None where those come, whole."""
    thought_budget: ThoughtBudget | None = None
    """The limit of thoughts, which they end; None where there is none."""

    @classmethod
    def of(cls, inputs: EngineInputs) -> Served:
        """The model of a run's engine."""
        return cls(
            path=inputs.model_path,
            dtype=str(inputs.dtype).removeprefix("torch."),
            trust_remote_code=inputs.trust_remote_code,
            seed=inputs.seed,
            adapter=inputs.adapter,
            thought_budget=inputs.encoder.thought_budget,
        )


def server_start(
    engine: ServersConfig,
    served: Served,
    place: ServerPlace,
    *,
    where: str,
    key: str | None = None,
    log: Path | None = None,
    program: Sequence[str] = PROGRAM,
) -> ServerStart:
    """All that a server is started from.

    Args:
        where: the setting or command that asks for it, for sentences.
        key: the one that it shall ask for.
        log: see `ServerStart`.
        program: the command that serves.
    """
    on_gpu = place.visible is not None
    # Its own processes, on this machine alone, would meet at what the machine's name stands for.
    usual = {"VLLM_HOST_IP": place.host, "GLOO_SOCKET_IFNAME": "lo"}
    ours = {"VLLM_SERVER_DEV_MODE": "1"}  # the routes of weights
    if served.adapter is not None:
        ours |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    return ServerStart(
        where=where,
        model=served.path,
        options=tuple(server_options(engine, served, on_gpu=on_gpu)),
        environment=usual | server_environment(place.visible, key) | ours,
        cpu_kv_cache_gib=engine.cpu_kv_cache_gib,
        address=(place.host, place.port),
        log=log,
        program=tuple(program),
    )


def server_options(engine: ServersConfig, served: Served, *, on_gpu: bool) -> Iterator[str]:
    """The options of a server, as vLLM spells them. A key is none of them: all users of a machine
    can read the command lines of its processes."""
    yield from ("--model", served.path, "--served-model-name", model_name(served))
    yield from ("--dtype", served.dtype, "--seed", str(derived_seed(served.seed, "server")))
    if engine.max_context_tokens is not None:
        yield from ("--max-model-len", str(engine.max_context_tokens))
    if served.trust_remote_code:
        yield "--trust-remote-code"
    # Token ids in and out, with the log-probabilities that sampling drew from, and sampling as each
    # request asks for it, whatever the model's folder recommends.
    yield from ("--enable-scale-out", "--logprobs-mode", "processed_logprobs")
    yield from ("--max-logprobs", str(MOST_TOLD))
    yield from ("--generation-config", "vllm", "--uvicorn-log-level", "warning")
    yield from ("--tensor-parallel-size", str(engine.tensor_parallel))
    if on_gpu:
        yield from ("--gpu-memory-utilization", str(engine.gpu_memory))
    else:
        # A generator of random numbers on a CPU cannot be turned back, which vLLM does with a
        # request's own after each piece of its prompt but the last: so prompts stay whole.
        yield from ("--enforce-eager", "--no-enable-chunked-prefill")
        # The default block of 128 tokens would leave up to 127 of a shared prefix uncached.
        yield from ("--block-size", "32")
    if served.thought_budget is not None:
        yield from ("--reasoning-config", json.dumps(served.thought_budget.markers))
    yield from _weights(engine, served, on_gpu)
    for name, value in engine.options.items():
        if value is not None:
            yield from as_words(name, value)


def model_name(served: Served) -> str:
    """The name that a server gives its model: equal where two folders hold the same one, wherever
    they are.

    Returns:
        The folder's or the Hub's name for it, and a digest over its `config.json`; with adapters,
        which are added to the model's own weights, over names and sizes of these files too. The
        Hub's name alone where it is no folder.
    """
    folder = Path(served.path)
    if not folder.is_dir():
        return served.path
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    if served.adapter is not None:
        for file in sorted(folder.glob("*.safetensors")):
            digest.update(f"\0{file.name}\0{file.stat().st_size}".encode())
    name = re.sub(r"[^\w.-]", "-", folder.resolve().name)
    return f"{name}@{digest.hexdigest()[:12]}"


def as_words(name: str, value: Any) -> Sequence[str]:
    """An option of `rollout.engine.options` on the command line: `max_num_seqs: 8` is
    `--max-num-seqs 8`, and `enforce_eager: false` is `--no-enforce-eager`."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, Mapping):
        return [f"--{flag}", json.dumps(value)]
    if isinstance(value, list | tuple):
        return [f"--{flag}", *map(str, value)]
    return [f"--{flag}={value}"]  # in one word, for a value may begin with a dash


def _weights(engine: ServersConfig, served: Served, on_gpu: bool) -> Iterator[str]:
    """The weights that it starts with, and the way of new ones."""
    if served.adapter is not None:
        room = next((rank for rank in ADAPTER_RANKS if rank >= served.adapter.rank), None)
        yield from ("--enable-lora", "--max-loras", "1")
        yield from ("--max-lora-rank", str(room or served.adapter.rank))
        return
    # Scales of numbers with fewer bits are in the model's files, and nobody sends them.
    if not has_scales(engine.options):
        yield from ("--load-format", "dummy")
    way = engine.weights or ("nccl" if on_gpu else "gloo")
    backend = GLOO if way == "gloo" else way
    yield from ("--weight-transfer-config", json.dumps({"backend": backend}))
