"""Share of what adapters learn that is left in bf16: merged into the weights, and beside them.

    python -m performance.lora_rounding

Every entry of B is moved by the learning rate at each step, always the same way: nothing that Adam
does moves it further. The layers are those of the demo model. Merged, a weight W + s B A is rounded
to bf16; beside it an adapter's product is added to an output W x that is in bf16, and the sum is
rounded, by PEFT and by vLLM alike.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from performance.published import add_save_option, publish
from rvpo.model_files import DEMO_MODEL, resolve_model
from rvpo.rollout.lora_config import LoraConfig
from rvpo.trainer.adapters import MergedWeights, adapted_layers, add_adapters
from rvpo.trainer.lora_targets import target_layers

LAYERS = (0, 10, 20)
RATES = (1e-6, 1e-5, 1e-4, 3e-4)
STEPS = (1, 10, 100, 1000)
MOVED = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
TEXT = (
    "The ferry leaves the island at six in the morning, before the shops open, so whoever wants "
    "bread for the crossing buys it the evening before and keeps it in a tin."
)


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


def move(model: Any, signs: dict[str, Tensor], moved: float) -> None:
    """Have every entry of B be `moved` from 0."""
    for path, layer in adapted_layers(model).items():
        layer.lora_B["default"].weight.data.copy_(moved * signs[path])


def share_of_weights(model: Any) -> float:
    """The share that is left in weights with the adapters added to them."""
    weights = MergedWeights(Own(model), model)
    for _ in weights:
        pass
    return weights.share.metrics()["lora/merged_share"]


def share_of_outputs(model: Any, inputs: dict[str, Tensor]) -> float:
    """The share that is left in the outputs of layers with adapters beside them: of the change D
    that the adapters make in exact arithmetic, <R, D> / <D, D>, R being the change that is left.

    Args:
        inputs: [T, inputs] of each layer.
    """
    left = whole = 0.0
    with torch.no_grad():
        for path, layer in adapted_layers(model).items():
            x = inputs[path]
            a, b = (getattr(layer, part)["default"].weight.float() for part in ("lora_A", "lora_B"))
            exact = layer.scaling["default"] * (x.float() @ a.T @ b.T)
            change = layer(x).float() - layer.base_layer(x).float()
            left += float((change * exact).sum())
            whole += float((exact * exact).sum())
    return left / whole


def inputs_of(model: Any, ids: Tensor) -> dict[str, Tensor]:
    """[T, inputs] of each layer that has an adapter, for a text."""
    found: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, given, path=path: found.__setitem__(path, given[0][0].detach())
        )
        for path, layer in adapted_layers(model).items()
    ]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=16)
    add_save_option(parser)
    options = parser.parse_args()
    folder = resolve_model(DEMO_MODEL)
    models: Any = AutoModelForCausalLM
    model = models.from_pretrained(folder, dtype=torch.bfloat16)
    linear = target_layers(model, LoraConfig())
    some = [path for path in linear if any(f".layers.{number}." in path for number in LAYERS)]
    lora = LoraConfig(rank=options.rank, alpha=2.0 * options.rank, targets=tuple(some))
    add_adapters(model, lora, seed=0)
    generator = torch.Generator().manual_seed(0)
    signs = {
        path: torch.randn(layer.lora_B["default"].weight.shape, generator=generator).sign()
        for path, layer in adapted_layers(model).items()
    }
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    inputs = inputs_of(model, tokenizer(TEXT, return_tensors="pt").input_ids)
    lines = [
        f"SmolLM2-135M in bf16, rank {lora.rank}, alpha {lora.alpha:g}, all linear layers of three "
        "blocks; the best case: every step moves each entry of B by the learning rate, the same "
        "way. Merged, the share that is left in the weights:",
        "",
        f"| learning rate | {' | '.join(f'{n:,} steps' for n in STEPS)} |",
        "| --- |" + " --- |" * len(STEPS),
    ]
    for rate in RATES:
        cells = []
        for steps in STEPS:
            move(model, signs, rate * steps)
            cells.append(f"{100 * share_of_weights(model):.1f} %")
        lines.append(f"| {rate:.0e} | {' | '.join(cells)} |")
    lines += [
        "",
        "Merged, and beside the weights, where it is the share that is left in the outputs of "
        "each layer for a text:",
        "",
        "| entries of B | merged, of weights | beside them, of outputs |",
        "| --- | --- | --- |",
    ]
    for moved in MOVED:
        move(model, signs, moved)
        shares = share_of_weights(model), share_of_outputs(model, inputs)
        lines.append(f"| {moved:.0e} | " + " | ".join(f"{100 * s:.1f} %" for s in shares) + " |")
    publish("lora_rounding.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
