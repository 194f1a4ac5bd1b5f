"""Of a model that sees and reads, the half that reads is trained, and the whole is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GenerationConfig,
)

from rvpo.runtime.ranks import Ranks
from rvpo.trainer.export import export_model
from rvpo.trainer.rehearsal import rehearse_saving
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.rollout.test_engines import make_encoder, make_prompts, make_transformers_engine, move
from tests.tiny import save_tiny_model


def save_tiny_gemma3(folder: Path) -> Path:
    """Two layers that read, one that sees, random weights."""
    save_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = len(tokenizer)
    config = Gemma3Config(
        text_config={
            "vocab_size": size + 3,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "max_position_embeddings": 512,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        boi_token_index=size,
        eoi_token_index=size + 1,
        image_token_index=size + 2,
    )
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    return folder


def weights(folder: Path) -> Mapping[str, Tensor]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert type(model) is Gemma3ForConditionalGeneration
    return dict(model.named_parameters())


def test_the_half_that_reads_is_trained_and_the_whole_is_saved(
    tmp_path: Path, ranks: Ranks
) -> None:
    initial = save_tiny_gemma3(tmp_path / "initial")
    encoder, engine = make_encoder(initial), make_transformers_engine(initial, "fp32")
    said: list[str] = []
    update = {"lr": 1e-2, "weight_decay": 0.1}
    policy = ZeroPolicy(tiny_config(initial, update=update), str(initial), ranks, said.append)
    rehearse_saving(str(initial), encoder, False, said.append)
    for version in range(2):
        engine.load_weights(policy.weights(), version)
        move(policy, engine.generate(make_prompts(), 4, seed=version))
    export_model(policy, encoder.tokenizer, tmp_path / "model", ranks)
    (line,) = said
    assert line.startswith("update: each prompt is computed once")
    before, after = weights(initial), weights(tmp_path / "model")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "language_model" in name}
    make_encoder(tmp_path / "model")
