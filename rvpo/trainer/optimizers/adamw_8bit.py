"""AdamW whose moments take a byte each, by bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.trainer.optimizers.optimizer import WEIGHTS, Optimizer, ParameterGroups, PartitionState

_BLOCK: Final = 256
"""Elements of a moment that share a scale, in bitsandbytes."""
_WRAPPED: Final = "__bnb_optimizer_quant_state__"
"""Key of a checkpoint under which bitsandbytes hides a quantised state from FSDP."""
_MOMENTS: Final = ("1", "2")
_SMALL: Final = 4096
"""Elements of a partition below which bitsandbytes keeps its moments in fp32."""


class AdamW8bit(Optimizer):
    """AdamW with block-wise quantised moments (Dettmers et al. 2022, arXiv:2110.02861).

    A moment is a byte of a table of 256 numbers between -1 and 1, times a scale that 256 neighbours
    share. Such blocks cannot be cut anywhere: another number of ranks has the moments laid together
    in fp32, and quantised in blocks of its own.
    """

    moment_bytes = 2 * (1 + 4 / _BLOCK)

    def build(self, groups: ParameterGroups, update: UpdateConfig) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        optimizer: torch.optim.Optimizer = _bitsandbytes().optim.AdamW8bit(
            groups, lr=update.lr, betas=update.betas, min_8bit_size=_SMALL
        )
        return optimizer

    def allocate(self, optimizer: Any, group: int, partition: Tensor) -> None:
        """See `Optimizer.allocate`."""
        settings = optimizer.param_groups[group]
        before = settings["params"]
        settings["params"] = [partition]  # where it looks for settings of this one alone
        optimizer.init_state(settings, partition, group, 0)
        settings["params"] = before

    def cut(self, state: PartitionState, part: slice) -> dict[str, Tensor]:
        """See `Optimizer.cut`. Moments come in fp32."""
        weights = state[WEIGHTS]
        first, last, _ = part.indices(len(weights))
        plain = {**state, **state.get(_WRAPPED, {})}
        moments = {
            f"state{n}": _in_fp32(plain, n, first, last) for n in _MOMENTS if f"state{n}" in plain
        }
        return {WEIGHTS: weights[part], **moments}

    def joined(self, parts: Mapping[str, Tensor], example: PartitionState) -> dict[str, Any]:
        """See `Optimizer.joined`."""
        made: dict[str, Any] = {WEIGHTS: parts[WEIGHTS]}
        if "step" in example:
            made["step"] = example["step"]
        plain = {**example, **example.get(_WRAPPED, {})}
        for n in _MOMENTS:
            if f"state{n}" in parts:
                made |= _in_blocks(parts[f"state{n}"], n, plain.get(f"qmap{n}"))
        return made


def _in_fp32(state: PartitionState, n: str, first: int, last: int) -> Tensor:
    """Some elements of a moment, which begin within a block."""
    quantised: Tensor = state[f"state{n}"]
    if quantised.dtype == torch.float32:
        return quantised[first:last]
    start = first // _BLOCK
    codes = quantised[start * _BLOCK : last].long()
    scales = state[f"absmax{n}"][start : start + -(-len(codes) // _BLOCK)]
    values: Tensor = state[f"qmap{n}"][codes] * scales.repeat_interleave(_BLOCK)[: len(codes)]
    return values[first - start * _BLOCK :]


def _in_blocks(moment: Tensor, n: str, table: Tensor | None) -> dict[str, Tensor]:
    """A moment as bitsandbytes keeps it."""
    if len(moment) < _SMALL:
        return {f"state{n}": moment}
    functional = _bitsandbytes().functional
    code = functional.create_dynamic_map(signed=n == "1") if table is None else table
    quantised, state = functional.quantize_blockwise(moment, code=code, blocksize=_BLOCK)
    return {f"state{n}": quantised, f"qmap{n}": code, f"absmax{n}": state.absmax}


def _bitsandbytes() -> Any:
    import bitsandbytes

    return bitsandbytes
