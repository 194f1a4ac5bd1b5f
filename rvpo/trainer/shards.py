"""The shards of a checkpoint, one of each rank that wrote it, read by any number of ranks.

ZeRO-3 cuts each weight into as many equal pieces as there are ranks, of which the last may be
padded or empty. A rank's flat tensors hold its pieces of some weights, a sub-group, end to end: one
of fp32 weights, and one of each moment of the optimizer.

DeepSpeed's universal checkpoint does the same in a copy on the disk. It reads pickles that may run
code, and gives every weight the settings of the first group, weight decay among them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvpo.errors import CheckpointError
from rvpo.report.run_folder import writing
from rvpo.trainer.optimizers import Optimizer
from rvpo.trainer.optimizers.optimizer import WEIGHTS
from rvpo.trainer.plain_load import load_plain

Sizes = Mapping[str, int]
"""Elements of whole weights by name, in the order of a sub-group."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Place of a weight's pieces, the same in every rank's shard."""

    group: int
    start: int
    """Elements of the flat tensor before the piece."""
    size: int
    """Elements of the whole weight."""


def extents(groups: Sequence[Sizes], ranks: int) -> dict[str, Extent]:
    """Place of every weight where so many ranks have the sub-groups."""
    found = {}
    for number, sizes in enumerate(groups):
        start = 0
        for name, size in sizes.items():
            found[name] = Extent(number, start, size)
            start += piece(size, ranks)
    return found


def piece(size: int, ranks: int) -> int:
    """Elements of each rank's piece of a weight, with the padding."""
    return -(-size // ranks)


def overlaps(size: int, before: int, rank: int, ranks: int) -> Iterator[tuple[int, slice, slice]]:
    """The parts of a rank's piece of a weight, each with its rank and place before.

    Args:
        size: elements of the whole weight.
        before: number of ranks that it was cut for.
        rank: the one whose piece is made, among `ranks`.

    Yields:
        Rank before, elements of the piece there, and elements of the piece here.
    """
    old, new = piece(size, before), piece(size, ranks)
    first, end = rank * new, min((rank + 1) * new, size)
    for number in range(before):
        start, stop = max(first, number * old), min(end, (number + 1) * old)
        if start < stop:
            yield (
                number,
                slice(start - number * old, stop - number * old),
                slice(start - first, stop - first),
            )


class Shards:
    """The files of a checkpoint as DeepSpeed named them. No more of them is read than is used.

    Args:
        kind: the optimizer that was saved.

    Raises:
        CheckpointError: a file asks for more than tensors and plain values.
    """

    def __init__(self, folder: Path, kind: Optimizer) -> None:
        self._folder = folder
        self._kind = kind
        self.ranks: int = self.model(0)["dp_world_size"]
        self._groups = sizes_of(self.model(0)["param_shapes"])
        self._extents = extents(self._groups, self.ranks)
        self._optimizer = cache(self._read_optimizer)

    def model(self, rank: int) -> dict[str, Any]:
        """Everything that a rank saved beside the optimizer's state."""
        content: dict[str, Any] = load_plain(
            self._folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt"
        )
        return content

    def groups(self, wanted: Sequence[Sizes], rank: int, ranks: int) -> list[dict[str, Any]]:
        """A rank's share of each sub-group: its flat tensors by name, and what else the optimizer
        keeps of them, such as AdamW's `step`. Where it is cut as it was, it is the same to the bit.

        Args:
            wanted: the sub-groups of the ranks that go on.

        Raises:
            CheckpointError: these are not the weights that were saved.
        """
        saved = {name: extent.size for name, extent in self._extents.items()}
        asked = {name: size for sizes in wanted for name, size in sizes.items()}
        if other := sorted(dict(saved.items() ^ asked.items())):
            raise CheckpointError(
                f"{self._folder} holds other weights than this run trains, '{other[0]}' for one; "
                "restore the files of model.path, and model.lora as it was"
            )
        if ranks == self.ranks and list(map(list, wanted)) == list(map(list, self._groups)):
            return [_copied(self._flat(rank, number)) for number in range(len(wanted))]
        return [self._group(sizes, rank, ranks) for sizes in wanted]

    def _group(self, sizes: Sizes, rank: int, ranks: int) -> dict[str, Any]:
        example = self._flat(0, self._extents[next(iter(sizes))].group)
        length = sum(piece(size, ranks) for size in sizes.values())
        none = self._kind.cut(example, slice(0, 0))
        made = {name: torch.zeros(length, dtype=flat.dtype) for name, flat in none.items()}
        for name, here in extents([sizes], ranks).items():
            there = self._extents[name]
            for old, source, target in overlaps(here.size, self.ranks, rank, ranks):
                part = slice(there.start + source.start, there.start + source.stop)
                for key, flat in self._kind.cut(self._flat(old, there.group), part).items():
                    made[key][here.start :][target] = flat
        return self._kind.joined(made, example)

    def _flat(self, rank: int, group: int) -> dict[str, Any]:
        state = self._optimizer(rank)
        moments = state["optimizer_state_dict"]["state"].get(group, {})
        return {WEIGHTS: state["fp32_flat_groups"][group].detach(), **moments}

    def _read_optimizer(self, rank: int) -> dict[str, Any]:
        # With a prefix in bf16.
        (path,) = self._folder.glob(f"*zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        content: dict[str, Any] = load_plain(path)["optimizer_state_dict"]
        return content


def store(engine: Any, folder: Path, tag: str, state: Mapping[str, Any]) -> None:
    """Write a rank's shard of what a DeepSpeed engine trains; what it leaves as it is, is in the
    files of the model.

    Args:
        tag: folder in `folder`.
        state: plain values that go with it.

    Raises:
        CheckpointError: the disk takes no more.
    """
    try:
        with writing(folder):
            engine.save_checkpoint(
                str(folder),
                tag=tag,
                client_state=state,
                save_latest=False,
                exclude_frozen_parameters=True,
            )
    except RuntimeError as error:
        if not re.search("PytorchStreamWriter|unexpected pos|write failed", str(error)):
            raise  # only these are PyTorch's words for a disk that takes no more
        raise CheckpointError(
            f"{folder} cannot be written ({error}); free some disk space, then continue with "
            "--resume"
        ) from error


def restore(engine: Any, shards: Shards, rank: int, ranks: int) -> None:
    """Give a DeepSpeed engine what the shards hold of its rank's weights and optimizer.

    Args:
        rank: the engine's, among the `ranks` that go on.

    Raises:
        CheckpointError: these are not the weights that were saved.
    """
    saved = shards.model(rank % shards.ranks)
    optimizer = engine.optimizer
    groups = shards.groups(sizes_of(engine._get_zero_param_shapes()), rank, ranks)
    state = optimizer.state_dict()
    weights = [group.pop(WEIGHTS) for group in groups]
    moments = {number: group for number, group in enumerate(groups) if group}
    base = state["optimizer_state_dict"] | {"state": moments}
    state |= {"fp32_flat_groups": weights, "optimizer_state_dict": base}
    optimizer.checkpoint_event_prologue()
    optimizer.load_state_dict({rank: state})
    optimizer.checkpoint_event_epilogue()
    with torch.no_grad():
        for name, buffer in engine.module.named_buffers():
            if name in saved["module"]:
                buffer.copy_(saved["module"][name])
    for counter in ("global_steps", "global_samples", "skipped_steps"):
        setattr(engine, counter, saved[counter])


def sizes_of(groups: Sequence[Mapping[str, Sequence[int]]]) -> list[Sizes]:
    """Sizes of the weights in DeepSpeed's sub-groups, given their shapes."""
    return [{name: math.prod(shape) for name, shape in shapes.items()} for shapes in groups]


def _copied(value: Any) -> Any:
    """The same in memory of its own: what was read is of the file, which may go."""
    if isinstance(value, Mapping):
        return {name: _copied(each) for name, each in value.items()}
    return value.clone() if isinstance(value, Tensor) else value
