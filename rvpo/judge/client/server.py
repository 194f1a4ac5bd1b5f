"""A judge without a key: vLLM's own OpenAI server, on this machine, for the time of the run.

It listens on a Unix socket in a folder that only this user may enter: no other user of the machine
can ask it, take its place or read what it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rvpo.config.judge import EndpointConfig, ServeConfig
from rvpo.config.judges import OWN
from rvpo.runtime.vllm_server import PROGRAM, ServerStart, VllmServer, server_environment

DTYPES: Final = {"bf16": "bfloat16", "fp32": "float32"}
"""Number formats as vLLM spells them."""


class JudgeServer:
    """A model served on loopback. It ends with this process, however that ends."""

    def __init__(self, server: VllmServer, config: ServeConfig) -> None:
        self._server = server
        self._config = config

    @classmethod
    def start(
        cls,
        config: ServeConfig,
        model_path: str,
        *,
        on_gpu: bool,
        visible: str | None = None,
        program: Sequence[str] = PROGRAM,
        where: str = OWN,
    ) -> JudgeServer:
        """Start the server and return at once; it takes half a minute and more to come up.

        Args:
            model_path: a model folder or a Hub id, as `resolve_model` returns it.
            visible: its GPUs, as CUDA names them; those of this process if left out.
            program: command that serves; takes vLLM's options.
            where: the section of the judge, for messages.
        """
        start = ServerStart(
            where=f"{where}.serve",
            model=config.model,
            options=tuple(serve_options(config, model_path, on_gpu=on_gpu)),
            environment=server_environment(visible),
            cpu_kv_cache_gib=config.cpu_kv_cache_gib,
            folder="rvpo-judge-",
            program=tuple(program),
        )
        return cls(VllmServer(start), config)

    def ready(self, timeout_s: float = 600.0) -> None:
        """See `VllmServer.ready`."""
        self._server.ready(timeout_s)

    def end_of(self) -> str | None:
        """See `VllmServer.end_of`."""
        return self._server.end_of()

    def close(self) -> None:
        """See `VllmServer.close`."""
        self._server.close()

    def endpoint(self) -> EndpointConfig:
        """Endpoint that serves the model, with its name there."""
        return EndpointConfig(
            url="http://localhost/v1",
            socket=self._server.socket,
            model=self._config.model,
            concurrency=self._config.concurrency,
        )


def fingerprint(model_path: str, precision: str = "bf16") -> str:
    """A name for the weights that are served, to file cached verdicts under.

    Args:
        precision: the format in which they are served.

    Returns:
        A hash over names, sizes and times of change of a folder's files: another one after
        any change, without reading gigabytes. Anything else, a Hub id, as it is.
    """
    folder = Path(model_path)
    end = "" if precision == "bf16" else f" {precision}"
    if not folder.is_dir():
        return f"{model_path}{end}"
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = file.stat()
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return f"{digest.hexdigest()}{end}"


def serve_options(config: ServeConfig, model_path: str, *, on_gpu: bool) -> list[str]:
    """The options of the server, as vLLM spells them."""
    options = ["--model", model_path, "--served-model-name", config.model]
    options += [
        "--max-model-len",
        str(config.max_context_tokens),
        "--dtype",
        DTYPES[config.precision],
    ]
    # Sampling as asked for in each request, whatever the model's folder recommends.
    options += ["--enable-prefix-caching", "--generation-config", "vllm"]
    options += ["--max-num-seqs", str(config.concurrency)]
    options += ["--disable-log-stats", "--uvicorn-log-level", "warning"]
    if config.trust_remote_code:
        options += ["--trust-remote-code"]
    if on_gpu:
        # Before anything else, and even where the cache is given, vLLM wants this share to be free.
        options += ["--gpu-memory-utilization", str(config.gpu_memory)]
        options += ["--tensor-parallel-size", str(config.gpus)]
        if config.kv_cache_gib is not None:
            options += ["--kv-cache-memory-bytes", str(int(config.kv_cache_gib * 2**30))]
    else:
        # The default block of 128 tokens would leave up to 127 of a shared prefix uncached.
        # Prompts whole: see `rvpo.rollout.servers.command`; a judge asked again has a seed.
        options += ["--enforce-eager", "--block-size", "32", "--no-enable-chunked-prefill"]
    return options
