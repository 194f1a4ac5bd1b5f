"""A model's weights are what its checkpoint holds, however a module keeps them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from rvpo.rollout.named_weights import named_weights


class Scaled(nn.Module):
    """A layer whose scale is learned elsewhere, beside what is computed anew each time."""

    scale: Tensor
    cache: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("scale", torch.full((1,), 3.0))
        self.register_buffer("cache", torch.zeros(4), persistent=False)
        self.register_buffer("unused", None)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Scaled(), Scaled()])
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight = self.layers[0].linear.weight  # type: ignore[assignment, union-attr]
        self.register_buffer("top", torch.ones(2))


def test_all_that_a_checkpoint_of_a_module_holds_is_named_as_there() -> None:
    model = Model()
    found = dict(named_weights(model))
    stored = model.state_dict()
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)
    assert {"layers.1.scale", "head.weight", "top"} <= found.keys()


def test_of_a_language_model_the_files_names_come_and_the_tied_one(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    names = [name for name, _ in named_weights(model)]
    assert set(names) == set(load_file(tiny_model / "model.safetensors")) | {"lm_head.weight"}
    assert len(names) == len(set(names))
