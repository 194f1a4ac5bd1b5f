"""Share of what adapters learn that reaches an engine in bf16, merged into the weights.

    python -m performance.lora_rounding

Every entry of B is moved by the learning rate at each step, always the same way: nothing that Adam
does moves it further. The layers are those of the demo model.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from performance.published import add_save_option, publish
from rvpo.model_files import DEMO_MODEL, resolve_model
from rvpo.rollout.lora_config import LoraConfig
from rvpo.trainer.adapters import MergedWeights, adapted_layers, add_adapters
from rvpo.trainer.lora_targets import target_layers

LAYERS = (0, 10, 20)
RATES = (1e-6, 1e-5, 1e-4, 3e-4)
STEPS = (1, 10, 100, 1000)


class Own:
    """The weights of a model that is not sharded; see `rvpo.rollout.engine.Weights`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, weight.dtype, tuple(weight.shape)) for name, weight in self]

    def as_saved(self) -> Own:
        return self

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self._model.named_parameters():
            yield name, weight.detach()


def share(model: Any, signs: dict[str, Tensor], moved: float) -> float:
    """The share that is left where every entry of B is `moved` from 0."""
    for path, layer in adapted_layers(model).items():
        layer.lora_B["default"].weight.data.copy_(moved * signs[path])
    weights = MergedWeights(Own(model), model)
    for _ in weights:
        pass
    return weights.share.metrics()["lora/merged_share"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=16)
    add_save_option(parser)
    options = parser.parse_args()
    models: Any = AutoModelForCausalLM
    model = models.from_pretrained(resolve_model(DEMO_MODEL), dtype=torch.bfloat16)
    linear = target_layers(model, LoraConfig())
    some = [path for path in linear if any(f".layers.{number}." in path for number in LAYERS)]
    lora = LoraConfig(rank=options.rank, alpha=2.0 * options.rank, targets=tuple(some))
    add_adapters(model, lora, seed=0)
    generator = torch.Generator().manual_seed(0)
    signs = {
        path: torch.randn(layer.lora_B["default"].weight.shape, generator=generator).sign()
        for path, layer in adapted_layers(model).items()
    }
    lines = [
        f"SmolLM2-135M in bf16, rank {lora.rank}, alpha {lora.alpha:g}, all linear layers of three "
        "blocks; the best case: every step moves each entry of B by the learning rate, the same "
        "way.",
        "",
        f"| learning rate | {' | '.join(f'{n:,} steps' for n in STEPS)} |",
        "| --- |" + " --- |" * len(STEPS),
    ]
    for rate in RATES:
        found = (f"{100 * share(model, signs, rate * steps):.1f} %" for steps in STEPS)
        lines.append(f"| {rate:.0e} | {' | '.join(found)} |")
    publish("lora_rounding.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
