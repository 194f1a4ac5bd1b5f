"""Weights through the shared memory of a machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rvpo.errors import EngineError
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.transport import WeightSender, WeightTransport, remote_call

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights

_SHARED: Final = "/dev/shm"
_FOLDER: Final = "rvpo-weights-"
"""Followed by the process that made it, so that what a killed one left behind is known."""


class Shared(WeightTransport):
    """A checkpoint in shared memory, to another process of this machine: vLLM hands tensors over
    between processes on GPUs only. A vLLM that started without reading weights reads none later."""

    name: Literal["shared"] = "shared"

    def reaches(self, site: Site) -> bool:
        """Any engine in a process of its own."""
        return not site.in_process

    def open(self, llm: Any, model: Path) -> WeightSender:
        """See `WeightTransport.open`."""
        return SharedMemory(llm, model)


class SharedMemory:
    """A sender that writes a checkpoint, which vLLM reads and which is gone afterwards."""

    def __init__(self, llm: Any, model: Path) -> None:
        self._llm = llm
        self._model = model
        sweep()

    def send(self, weights: Weights) -> None:
        """See `WeightSender.send`."""
        with _checkpoint(weights, self._model) as folder:
            remote_call(self._llm, "reload_weights", weights_path=str(folder))


@contextmanager
def _checkpoint(weights: Weights, model: Path) -> Iterator[Path]:
    """A checkpoint folder in shared memory, gone afterwards."""
    from safetensors.torch import save_file

    size = sum(dtype.itemsize * prod(shape) for _, dtype, shape in weights.layout())
    with memory_folder(size) as folder:
        state = {name: tensor.cpu() for name, tensor in weights}
        save_file(state, folder / "model.safetensors")
        for name in ("config.json", "generation_config.json"):
            if (model / name).exists():
                shutil.copy(model / name, folder / name)
        yield folder


@contextmanager
def memory_folder(size: int) -> Iterator[Path]:
    """An empty folder with room for so many bytes, best one in shared memory; gone afterwards.

    Raises:
        EngineError: there is no room.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=_roomy(size)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _roomy(size: int) -> str:
    """A folder with room for so many bytes, best one in shared memory.

    Raises:
        EngineError: there is none.
    """
    for folder in (_SHARED, tempfile.gettempdir()):
        if os.path.isdir(folder) and shutil.disk_usage(folder).free > 1.05 * size:
            return folder
    raise EngineError(
        f"the weights take {size / 1e9:.1f} GB on their way to vLLM, and neither {_SHARED} nor "
        f"{tempfile.gettempdir()} has room for them; free some, give a container more shared "
        "memory, or set TMPDIR. Then continue with --resume"
    )


def sweep() -> None:
    """Remove what processes left behind that were killed while they sent weights."""
    for parent in {_SHARED, tempfile.gettempdir()}:
        for folder in Path(parent).glob(f"{_FOLDER}*"):
            owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(folder, ignore_errors=True)
