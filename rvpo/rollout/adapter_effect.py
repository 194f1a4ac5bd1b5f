"""The effect of adapters on an engine's answers, seen by one that is made to have a large one.

Engines bind matrices to layers by their names, and leave out without a word what they find no layer
for. A policy's own first adapters are no test of that: in bf16 their products may be less than half
of the last bit of every output, and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from rvpo.errors import EngineError
from rvpo.rollout.lora_config import LoraConfig
from rvpo.types import Prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Layout: TypeAlias = "Sequence[tuple[str, torch.dtype, tuple[int, ...]]]"
"""Name, type and shape of each matrix; see `Weights.layout`."""

PROMPT: Final = Prompt(
    id="effect", messages=({"role": "user", "content": "Is 91 a prime number, and why?"},)
)
"""Asked with a probe and without it."""


def probe(layout: Layout, config: LoraConfig) -> dict[str, Tensor]:
    """An adapter of the same layers whose product s B A is as large as weights are: its entries
    have a variance of 1 / inputs. Always the same for a layout.

    Args:
        layout: name, type and shape of each matrix: A is [rank, inputs], B is [outputs, rank].
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, dtype, shape in layout:
        # B A sums over the rank, which is B's second size; A's second size is the inputs.
        size = shape[1] ** -0.5 / (config.scaling if ".lora_B." in name else 1.0)
        state[name] = (size * torch.randn(shape, generator=generator)).to(dtype)
    return state


def check_effect(adapted: Sequence[float], plain: Sequence[float]) -> None:
    """Compare the log-probabilities of the same tokens with a probe and without it.

    Raises:
        EngineError: they are equal to the bit.
    """
    if list(adapted) == list(plain):
        raise EngineError(
            "the engine answers the same with an adapter and without it: it applies none of an "
            "adapter's matrices, and samples of the initial model would be trained on; write "
            "model.lora.sync=merged, by which engines get whole weights"
        )
