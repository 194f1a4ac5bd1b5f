"""Weights that a model holds in another form than its checkpoints: the experts of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen3MoeConfig,
)
from transformers.core_model_loading import Concatenate, WeightConverter

from rvpo.errors import EngineError
from rvpo.evaluate.weights import SavedWeights
from rvpo.rollout.saved_form import saved_form
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.export import export_model
from tests.rollout.test_engines import (
    LARGEST_DIFFERENCE,
    make_encoder,
    make_policy,
    make_prompts,
    make_transformers_engine,
    move,
    trainer_difference,
)
from tests.tiny import save_tiny_model

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "num_experts_per_tok": 2,
}


def save_moe(kind: str, folder: Path) -> Path:
    """Two layers of four experts, with the tokenizer of the other tiny model."""
    save_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    about = SHAPE | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config: PretrainedConfig
    if kind == "qwen3_moe":
        config = Qwen3MoeConfig(**about, num_experts=4, moe_intermediate_size=32, head_dim=16)
    else:
        config = MixtralConfig(**about, num_local_experts=4)
    torch.manual_seed(0)
    make: Any = AutoModelForCausalLM
    model = make.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["qwen3_moe", "mixtral"])
def test_experts_are_handed_over_as_a_checkpoint_has_them(
    kind: str, tmp_path: Path, ranks: Ranks
) -> None:
    initial = save_moe(kind, tmp_path / "initial")
    before = load_file(initial / "model.safetensors")
    policy, engine = make_policy(initial, ranks), make_transformers_engine(initial, "fp32")
    for version in range(2):
        engine.load_weights(policy.weights(), version)
        rollout = engine.generate(make_prompts(), 4, seed=5)
        assert trainer_difference(policy, rollout) < LARGEST_DIFFERENCE["fp32"]
        if version == 0:
            move(policy, rollout)
    export_model(policy, make_encoder(initial).tokenizer, tmp_path / "model", ranks)
    exported = load_file(tmp_path / "model" / "model.safetensors")
    weights = policy.weights().as_saved()
    handed = dict(weights)
    assert set(handed) == set(before) == set(exported)
    experts = [name for name in handed if ".experts.0." in name]
    assert len(experts) == 2 * 3
    for name, tensor in handed.items():
        assert torch.equal(tensor, exported[name])
        assert tensor.is_contiguous()
    assert all(not torch.equal(handed[name], before[name]) for name in experts)
    assert [(n, t.dtype, tuple(t.shape)) for n, t in handed.items()] == list(weights.layout())


def test_a_saved_model_is_handed_over_as_its_files_have_it(tmp_path: Path) -> None:
    folder = save_moe("qwen3_moe", tmp_path)
    weights = SavedWeights(str(folder), torch.float32, trust_remote_code=False).as_saved()
    files = load_file(folder / "model.safetensors")
    handed = dict(weights)
    assert set(handed) == set(files)
    assert all(torch.equal(handed[name], files[name]) for name in files)


def test_weights_that_are_saved_as_they_are_stay_the_same_object(
    tiny_model: Path, ranks: Ranks
) -> None:
    weights = make_policy(tiny_model, ranks).weights()
    assert weights.as_saved() is weights


class Some:
    """Two weights."""

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(f"layer.{name}.weight", torch.float32, (2, 2)) for name in ("k", "v")]

    def as_saved(self) -> Some:
        return self

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        yield from [(name, torch.ones(shape)) for name, _, shape in self.layout()]


def test_a_saved_weight_that_is_made_of_several_is_refused_by_name(tiny_model: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    split = WeightConverter(
        source_patterns=["kv.weight"],
        target_patterns=["k.weight", "v.weight"],
        operations=[Concatenate(dim=0).reverse_op],
    )
    model._weight_conversions = [split]
    with pytest.raises(EngineError, match=r"'layer\.kv\.weight' of a saved LlamaForCausalLM is"):
        saved_form(Some(), model)
