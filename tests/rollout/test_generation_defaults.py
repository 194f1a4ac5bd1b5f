"""The run's settings decide how completions are drawn; a model's own defaults decide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from rvpo.rollout import TransformersConfig, VllmConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.rollout.vllm.engine import _options
from rvpo.rollout.vllm.placement import Placement
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports import usual_transport
from rvpo.sampling import Sampling
from rvpo.trainer.savable import savable
from rvpo.types import Rollout
from tests.fakes import make_prompt
from tests.rollout.test_stops import changed

TEMPERATURE = 0.8
TOKENS = 12
WRITTEN: dict[str, Any] = {
    "bad_words_ids": [[97]],
    "sequence_bias": [[[97], 8.0]],
    "suppress_tokens": list(range(32, 90)),
    "begin_suppress_tokens": list(range(32, 90)),
    "forced_bos_token_id": 97,
    "forced_eos_token_id": 256,
    "exponential_decay_length_penalty": [1, 3.0],
    "stop_strings": ["a"],
    "assistant_ensemble_weight": 0.5,
    "do_sample": False,
    "eos_token_id": 256,
    "watermarking_config": {"greenlist_ratio": 0.25, "bias": 9.0},
}
"""Values of defaults that are no plain number."""
NO_DRAWING = {
    *("transformers_version", "compile_config", "continuous_batching_config", "cache_config"),
    *("cache_implementation", "assistant_early_exit", "speculation_type", "is_assistant"),
    *("num_assistant_tokens_schedule", "constraints", "force_words_ids", "dola_layers"),
}
"""Of storage, of compilation, of a second model, or no longer part of transformers."""


def value_of(name: str) -> Any:
    """A value that would be noticed, for a setting known by its name alone."""
    if name in WRITTEN:
        return WRITTEN[name]
    if name.endswith(("_p", "_h", "cutoff", "temperature")):
        return 0.3
    if "penalty" in name or "scale" in name:
        return 1.7
    if name.startswith(("output_", "return_", "use_", "remove_", "renormalize", "early_", "low_")):
        return True
    if name in ("token_healing", "disable_compile"):
        return True
    return 2


NAMES = sorted(
    name for name in vars(GenerationConfig()) if not name.startswith("_") and name not in NO_DRAWING
)


def sampled(model: Path) -> tuple[Rollout, Any]:
    """Samples of the transformers engine, and the plain model."""
    encoder = Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=128)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    engine = TransformersEngine(
        loaded,
        encoder,
        TransformersConfig(batch_size=8),
        sampling=Sampling(temperature=TEMPERATURE, max_completion_tokens=TOKENS),
    )
    engine.load_weights(plain.named_parameters(remove_duplicate=False), version=0)
    return engine.generate([make_prompt("p", "abc")], 6, seed=1), plain


def policy_logprobs(
    model: Any,
    prompt: tuple[int, ...],
    completion: tuple[int, ...],
    temperature: float = TEMPERATURE,
) -> Any:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
    log_p = torch.log_softmax(logits.float() / temperature, dim=-1)
    return log_p.gather(1, torch.tensor(completion)[:, None])[:, 0]


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> list[tuple[int, ...]]:
    return [sample.completion_ids for sample in sampled(tiny_model)[0].samples]


@pytest.mark.parametrize("name", NAMES)
def test_a_default_of_the_model_neither_draws_nor_scores(
    name: str, tiny_model: Path, tmp_path: Path, expected: list[tuple[int, ...]]
) -> None:
    values = {name: value_of(name)}
    if name == "num_return_sequences":  # cannot be read beside greedy search
        values["do_sample"] = True
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", values)
    rollout, plain = sampled(folder)
    assert [sample.completion_ids for sample in rollout.samples] == expected
    for sample in rollout.samples:
        known = policy_logprobs(plain, sample.prompt_ids, sample.completion_ids)
        torch.testing.assert_close(torch.tensor(sample.logprobs), known, atol=1e-4, rtol=0)


def test_vllm_is_told_to_leave_the_defaults_of_the_model() -> None:
    placement = Placement(Site(), usual_transport(Site()))
    assert _options(VllmConfig(), 128, placement)["generation_config"] == "vllm"


UNSAVABLE: list[Mapping[str, Any]] = [
    {"do_sample": False, "temperature": 0.6, "top_p": 0.9},
    {"do_sample": False, "top_k": 7},
    {"do_sample": False, "min_p": 0.1},
    {"do_sample": False, "typical_p": 0.5},
    {"num_beams": 1, "length_penalty": 2.0},
    {"num_beams": 1, "early_stopping": True},
]


@pytest.mark.parametrize("values", UNSAVABLE)
def test_settings_that_cannot_be_saved_are_mended_and_said(
    values: Mapping[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", values)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(ValueError, match="Fix these issues"):
        model.save_pretrained(tmp_path / "refused")
    model.generation_config, said = savable("m", model.config, model.generation_config)
    model.save_pretrained(tmp_path / "saved")
    assert len(said) == 1
    assert said[0].startswith("model.path: ")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert again.generation_config.eos_token_id == 256 + 1


def test_settings_that_can_be_saved_stay(tiny_model: Path, tmp_path: Path) -> None:
    values = {"do_sample": True, "temperature": 0.6, "repetition_penalty": 1.1}
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", values)
    model = AutoModelForCausalLM.from_pretrained(folder)
    kept, said = savable("m", model.config, model.generation_config)
    assert said == []
    assert (kept.temperature, kept.repetition_penalty) == (0.6, 1.1)
