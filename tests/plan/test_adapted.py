"""Adapters that a run would refuse are found by its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, LlamaConfig

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.adapted import adapter_findings
from rvpo.plan.machine import Finding
from rvpo.plan.shape import published_shape, read_shape
from rvpo.rollout.transformers_engine import TransformersConfig
from tests.configs import tiny_config

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
LLAMA = LlamaConfig(vocab_size=64, num_hidden_layers=1, **SIZES)
GPT2 = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2)


def planned(folder: Path, settings: Any, lora: dict[str, Any] | None) -> tuple[RunConfig, Any]:
    settings.save_pretrained(folder)
    return tiny_config(folder, model={"lora": lora}), read_shape(str(folder))


@pytest.mark.parametrize(
    ("settings", "lora", "words"),
    [
        (LLAMA, {"targets": ["q_porj"]}, "has no layer 'q_porj'; did you mean 'q_proj'?"),
        (LLAMA, {"targets": ["q_proj", "lm_head"]}, "'lm_head' is the output layer"),
        (GPT2, {}, "GPT2LMHeadModel has no layers of torch's kind Linear"),
    ],
)
def test_layers_that_get_no_adapter_are_missing(
    tmp_path: Path, settings: Any, lora: dict[str, Any], words: str
) -> None:
    (found,) = adapter_findings(*planned(tmp_path, settings, lora))
    assert (found.part, found.state) == ("adapters", "missing")
    assert words in found.found


@pytest.mark.parametrize("lora", [{}, {"targets": ["q_proj", "mlp.up_proj"], "sync": "merged"}])
def test_layers_that_get_one_are_there(tmp_path: Path, lora: dict[str, Any]) -> None:
    (found,) = adapter_findings(*planned(tmp_path, LLAMA, lora))
    assert (found.part, found.state) == ("adapters", "ok")


def test_without_adapters_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert adapter_findings(*planned(tmp_path, GPT2, None)) == []
    assert adapter_findings(tiny_config(tmp_path, model={"lora": {}}), None) == []


class PickyConfig(TransformersConfig):
    """An engine that takes no adapters of any model."""

    def check_adapted(self, model_path: str, *, trust_remote_code: bool) -> None:
        raise ConfigError("model.lora: it takes no adapters of this")


@pytest.mark.parametrize(("sync", "state"), [("adapter", "missing"), ("merged", "ok")])
def test_an_engine_that_takes_no_adapters_of_the_model_is_found(
    tmp_path: Path, sync: str, state: str
) -> None:
    config, shape = planned(tmp_path, LLAMA, {"sync": sync})
    rollout = config.rollout.model_copy(update={"engine": PickyConfig()})
    (found,) = adapter_findings(config.model_copy(update={"rollout": rollout}), shape)
    assert found.state == state


def test_of_a_model_known_by_name_alone_the_names_of_layers_are_known() -> None:
    def found(targets: Any) -> Finding:
        config = tiny_config(Path("Qwen/Qwen2.5-7B"), model={"lora": {"targets": targets}})
        (only,) = adapter_findings(config, published_shape("Qwen/Qwen2.5-7B"))
        return only

    assert found("all-linear").state == found(["q_proj", "mlp.up_proj"]).state == "note"
    assert "name of the model alone" in found("all-linear").found
    wrong = found(["q_proj", "q_porj"])
    assert (wrong.state, "'q_porj'" in wrong.found) == ("missing", True)
    assert wrong.remedy.startswith("one of q_proj, k_proj, v_proj, o_proj, ")
