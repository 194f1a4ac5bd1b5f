"""The trained model as a folder that transformers and vLLM load."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rvpo.config.model import ModelConfig
from rvpo.errors import CheckpointError
from rvpo.report.run_folder import write_json, writing
from rvpo.rollout.adapter import save_adapter
from rvpo.rollout.lora_config import LoraConfig
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.adapters import AdapterWeights, MergedWeights, adapted_layers, original_name
from rvpo.trainer.lora_targets import shortest
from rvpo.trainer.zero import GatheredWeights
from rvpo.trainer.zero_policy import ZeroPolicy

SHARD_BYTES: Final = 4_000_000_000
"""Weights in one file, which is what the main rank holds of the model at once. A layer that is
larger has a file of its own: transformers may store several of its weights as one."""

ADAPTER: Final = "adapter"
"""Folder in a model's that holds its adapters alone."""

_WEIGHTS: Final = "model.safetensors"
_UNLIMITED: Final = 2**62


def export_model(
    policy: ZeroPolicy,
    tokenizer: Any,
    folder: Path,
    ranks: Ranks,
    base: ModelConfig | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write weights, settings and tokenizer; the folder appears when it is complete. Called on
    every rank. Adapters are added to the weights, and are in a folder of PEFT's beside them too.

    Args:
        base: settings of the initial policy, which adapters are written with.

    Raises:
        CheckpointError: the disk is full, the folder may not be written, or the model's own code
            fails at it.
        RankError: the same, on the ranks that do not write.
    """
    model = policy.model
    parameters = {original_name(name) for name, _ in model.named_parameters()}  # tied ones once
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    layers = adapted_layers(model)
    merged = MergedWeights(GatheredWeights(model), model) if layers else None
    weights = policy.weights() if merged is None else merged
    sizes = {
        name: math.prod(shape) * dtype.itemsize
        for name, dtype, shape in weights.layout()
        if name in parameters
    } | {name: buffer.nbytes for name, buffer in buffers.items()}
    shards = in_shards(sizes, shard_bytes)
    draft = Draft(folder, len(shards), sum(sizes.values()))
    with ranks.together():
        if ranks.is_main:
            draft.begin()
    # All ranks gather, one keeps; a sharded model cannot write itself.
    for state in _gathered(chain(weights, buffers.items()), shards, ranks.is_main):
        with ranks.together():
            if ranks.is_main:
                draft.add(model, state)
        state.clear()  # before the next one is gathered
    if base is not None and base.lora is not None:
        state = {name: tensor.cpu() for name, tensor in AdapterWeights(model)}
        with ranks.together():
            if ranks.is_main:
                draft.add_adapter(state, base.lora, base.path, shortest(layers, model))
    with ranks.together():
        if ranks.is_main:
            draft.end(tokenizer)


def in_shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names of weights in their order, as many together as are within a limit, and all of a layer.

    Args:
        sizes: bytes of each.
        limit: bytes of what is together, but for a single layer that has more.
    """
    shards: list[list[str]] = [[]]
    filled = 0
    for _, layer in groupby(sizes, _layer):
        names = list(layer)
        size = sum(sizes[name] for name in names)
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1] += names
        filled += size
    return shards


def _layer(name: str) -> str:
    """A weight's name up to the number of its layer; all of it where it is in none."""
    numbered = re.match(r".*?\.\d+\.", name)
    return numbered[0] if numbered else name


def _gathered(
    weights: Iterator[tuple[str, Tensor]], shards: Sequence[Sequence[str]], is_kept: bool
) -> Iterator[dict[str, Tensor]]:
    """The weights of each shard, in the memory of the CPU; nothing where they are not kept."""
    for names in shards:
        missing = set(names)
        state = {}
        while missing:
            name, tensor = next(weights)
            if name in missing and is_kept:
                state[name] = tensor.detach().cpu()
            missing.discard(name)
        yield state


@dataclass
class Draft:
    """A model folder in the making, beside the place where it will be.

    Until its end it has no settings, so that nothing takes it for a model.
    """

    folder: Path
    shards: int
    """Number of files that the weights will be in."""
    bytes: int
    """Size of all of them."""
    _files: dict[str, str] = field(default_factory=dict)
    """File of each weight, by its name."""
    _added: int = 0

    @property
    def _partial(self) -> Path:
        return self.folder.with_name(self.folder.name + ".partial")

    @property
    def _earlier(self) -> Path:
        """Place of the model that was in the folder, until it is removed."""
        return self.folder.with_name(f".{self.folder.name}.earlier")

    @property
    def _written(self) -> Path:
        """Folder that transformers writes into, with each shard."""
        return self._partial / "written"

    def begin(self) -> None:
        """Make the folder; a draft that a kill has left is lost.

        Raises:
            CheckpointError: it cannot be made.
        """
        shutil.rmtree(self._partial, ignore_errors=True)
        shutil.rmtree(self._earlier, ignore_errors=True)
        with writing(self.folder):
            # In the place of a file transformers writes nothing, and only logs that.
            self._partial.mkdir(parents=True)

    def add(self, model: Any, state: dict[str, Tensor]) -> None:
        """Write the next shard, under the names and in the form that the model was published in.

        Raises:
            CheckpointError: it cannot be written.
        """
        self._added += 1
        name = f"model-{self._added:05d}-of-{self.shards:05d}.safetensors"
        path = self._partial / (_WEIGHTS if self.shards == 1 else name)
        with self._writing():
            model.save_pretrained(self._written, state_dict=state, max_shard_size=_UNLIMITED)
            (self._written / _WEIGHTS).rename(path)
            with safe_open(path, "pt") as file:
                self._files |= dict.fromkeys(file.keys(), path.name)

    def add_adapter(
        self, state: dict[str, Tensor], lora: LoraConfig, base: str, targets: Sequence[str]
    ) -> None:
        """Write adapters, as PEFT reads them, into a folder of their own.

        Raises:
            CheckpointError: they cannot be written.
        """
        with self._writing():
            save_adapter(self._partial / ADAPTER, state, lora, base, targets)

    def end(self, tokenizer: Any) -> None:
        """Add what is not weights, and put the folder into its place.

        Raises:
            CheckpointError: it cannot be written.
        """
        partial = self._partial
        with self._writing():
            tokenizer.save_pretrained(self._written)
            if self.shards > 1:
                index = {"metadata": {"total_size": self.bytes}, "weight_map": self._files}
                write_json(self._written / f"{_WEIGHTS}.index.json", index)
            for path in self._written.iterdir():
                path.rename(partial / path.name)
            self._written.rmdir()
            shutil.rmtree(self._earlier, ignore_errors=True)
            if self.folder.exists():  # removing it takes long, and half of it would look whole
                self.folder.rename(self._earlier)
            partial.rename(self.folder)
            shutil.rmtree(self._earlier, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with writing(self.folder):
            try:
                yield
            except (OSError, CheckpointError):
                raise
            except Exception as error:  # of settings and classes that come with the model
                if isinstance(error, SafetensorError):
                    of_disk = re.search(r"\(os error (\d+)\)", str(error))
                    if of_disk is not None:
                        number = int(of_disk[1])
                        raise OSError(number, os.strerror(number)) from error
                raise CheckpointError(
                    f"{self.folder} cannot be written ({type(error).__name__}: {error}); what was "
                    "trained is in the newest checkpoint: correct the files of model.path, then "
                    "continue with --resume"
                ) from error
