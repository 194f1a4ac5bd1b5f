"""An adapter as a folder that PEFT and vLLM read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rvpo.errors import EngineError
from rvpo.report.run_folder import writing
from rvpo.rollout.lora_config import LoraConfig

if TYPE_CHECKING:
    from torch import Tensor

    from rvpo.rollout.engine import Weights

_PREFIX: Final = "base_model.model."
_A: Final = ".lora_A.weight"
_B: Final = ".lora_B.weight"
_INJECTED: Final = ".default."
"""The part that the name of a matrix has in a model, and not in a file."""
_FILE: Final = "adapter_model.safetensors"


def write_adapter(folder: Path, weights: Weights, config: LoraConfig, base: str) -> None:
    """Write a new folder, which appears when it is complete.

    Args:
        folder: the place of it, where nothing is yet.
        weights: an adapter's matrices under the names that PEFT saves them by,
            `base_model.model.<layer>.lora_A.weight` and `lora_B`; walked through once.
        base: folder or Hub id of the model that the adapter is of.

    Raises:
        EngineError: a name is none of an adapter's.
        CheckpointError: the disk is full, or the place may not be written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in weights}
    save_adapter(folder, state, config, base)


def save_adapter(
    folder: Path,
    state: dict[str, Tensor],
    config: LoraConfig,
    base: str,
    targets: Sequence[str] | None = None,
) -> None:
    """The same of matrices that are on the CPU already; see `write_adapter`.

    Args:
        targets: names by which PEFT finds the layers; if left out, the last part of each path.
    """
    from safetensors.torch import save_file

    names = {_layer(name).rpartition(".")[2] for name in state}
    settings = _settings(
        config,
        sorted(names if targets is None else targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            settings.save_pretrained(str(partial))
            save_file(state, partial / _FILE)
            partial.chmod(0o777 & ~_umask())  # servers may be other users'
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def adapter_of(model: Any, config: LoraConfig, names: Sequence[str]) -> dict[str, Tensor]:
    """The matrices of a model's adapter under the names that PEFT saves them by. A model that has
    none yet gets one, for the layers of the names.

    Args:
        model: one of transformers', with its weights whole.

    Raises:
        EngineError: it has no such layer, or a name is none of an adapter's.
    """
    layers = list(dict.fromkeys(map(_layer, names)))
    modules = dict(model.named_modules())
    if missing := [layer for layer in layers if layer not in modules]:
        raise EngineError(f"the engine's model has no layer {missing[0]!r} for an adapter")
    if not any(hasattr(module, "lora_A") for module in modules.values()):
        import peft

        peft.inject_adapter_in_model(_settings(config, layers), model)
        model.eval()
    return {
        f"{_PREFIX}{name.replace(_INJECTED, '.')}": parameter
        for name, parameter in model.named_parameters()
        if name.endswith((f"lora_A{_INJECTED}weight", f"lora_B{_INJECTED}weight"))
    }


def bytes_of(weights: Weights) -> int:
    """Bytes of weights."""
    return sum(dtype.itemsize * prod(shape) for _, dtype, shape in weights.layout())


def _settings(config: LoraConfig, targets: list[str], **more: Any) -> Any:
    """PEFT's own."""
    import peft

    alpha: Any = config.alpha  # which PEFT only divides, and writes as 32 where it is whole
    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=int(alpha) if config.alpha.is_integer() else alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        **more,
    )


def _layer(name: str) -> str:
    """Path of the layer in its model that a matrix is of."""
    for end in (_A, _B):
        if name.startswith(_PREFIX) and name.endswith(end):
            return name.removeprefix(_PREFIX).removesuffix(end)
    raise EngineError(f"{name!r} is no name of an adapter's matrix, and no engine would find it")


def _umask() -> int:
    """The mask of this process, which can be read only by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
