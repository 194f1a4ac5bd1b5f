"""The settings of LoRA, and what they say where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.diff import MAY_CHANGE_ON_RESUME, changed_settings
from rvpo.config.document import dump
from rvpo.config.evaluation import load_evaluation
from rvpo.config.run import dump_config, load_config
from rvpo.errors import ConfigError
from rvpo.rollout.lora_config import LoraConfig
from tests.configs import tiny_config, tiny_settings

SERVERS = {"name": "servers", "urls": ["http://10.0.0.2:8000"]}
NAME = st.from_regex(r"[a-z0-9_.]{1,12}", fullmatch=True)


@given(
    st.builds(
        LoraConfig,
        rank=st.integers(1, 512),
        alpha=st.floats(0.1, 1e3),
        targets=st.just("all-linear") | st.lists(NAME, min_size=1, unique=True),
        dropout=st.floats(0, 0.9),
        sync=st.sampled_from(["adapter", "merged"]),
    )
)
def test_they_are_read_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, lora: LoraConfig
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.yaml"
    model = {"path": "m", "lora": lora.model_dump()}
    config = tiny_config(Path("m"), model=model)
    path.write_text(dump_config(config))
    read = load_config(path)
    assert read.model.lora == lora
    assert read.model.lora.scaling == lora.alpha / lora.rank
    assert changed_settings(config, read, ()) == []


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"rank": 0}, "model.lora.rank: must be greater than 0, got 0"),
        ({"alpha": -1}, "model.lora.alpha: must be greater than 0, got -1"),
        ({"dropout": 1}, "model.lora.dropout: must be less than 1, got 1"),
        ({"sync": "merge"}, "did you mean 'merged'?"),
        ({"targets": []}, "model.lora.targets: must be all-linear, or a list of names"),
        ({"targets": ["a b"]}, "model.lora.targets: must be all-linear, or a list of names"),
        ({"targets": ["q", "q"]}, "model.lora.targets: names q twice; name each layer once"),
        ({"r": 8}, "model.lora.r: no such setting; allowed here: rank, alpha, targets"),
        (True, "model.lora: must be a table of settings, got true"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(tmp_path: Path, lora: Any, words: str) -> None:
    path = tmp_path / "run.yaml"
    model = {"path": "m", "lora": lora}
    path.write_text(dump(tiny_settings(Path("m"), tmp_path / "out", model=model)))
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    (problem,) = str(refusal.value).splitlines()[1:]
    assert words in problem


@pytest.mark.parametrize(
    ("lora", "rollout", "words"),
    [
        ({"rank": 600}, {"engine": "vllm"}, r"model\.lora\.rank: 600 is more than 512"),
        (
            {},
            {"engine": {"name": "vllm", "transport": "nccl"}},
            r"transport: nccl is a way of whole weights",
        ),
        (
            {},
            {"engine": SERVERS, "staleness": 1, "in_flight": True},
            r"rollout\.in_flight: a server ends a sample with the adapter that it began with",
        ),
    ],
)
def test_adapters_that_an_engine_takes_on_no_machine_are_refused_with_the_run(
    lora: dict[str, Any], rollout: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        tiny_config(Path("m"), model={"lora": lora}, rollout=rollout)
    tiny_config(Path("m"), model={"lora": {**lora, "sync": "merged"}}, rollout=rollout)


def test_adapters_in_fp32_are_for_the_machine_to_refuse() -> None:
    """vLLM takes them on a CPU."""
    tiny_config(Path("m"), model={"lora": {}, "precision": "fp32"}, rollout={"engine": "vllm"})


@pytest.mark.parametrize("name", LoraConfig.model_fields)
def test_none_may_change_when_a_run_goes_on(name: str) -> None:
    other = {"rank": 8, "alpha": 8, "targets": ["q_proj"], "dropout": 0.1, "sync": "merged"}
    runs = [tiny_config(Path("m"), model={"lora": lora}) for lora in ({}, {name: other[name]})]
    assert changed_settings(*runs, MAY_CHANGE_ON_RESUME) == [f"model.lora.{name}"]


def test_an_evaluation_takes_the_saved_model_of_a_run_that_had_adapters(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(dump(tiny_settings(Path("m"), tmp_path / "out", model={"lora": {"rank": 4}})))
    config = load_evaluation(path, ["bfcl"], "runs/out/model", ["benchmarks.bfcl.path=x"])
    assert config.model.lora is None
    with pytest.raises(ConfigError, match="nothing is trained in an evaluation"):
        load_evaluation(None, ["bfcl"], "m", ["benchmarks.bfcl.path=x", "model.lora={}"])


def test_a_reference_that_is_the_policy_may_be_sharded_in_groups() -> None:
    """DeepSpeed forms these for one model, and without adapters the reference is another one."""
    grouped = {"deepspeed": {"zero_optimization": {"zero_hpz_partition_size": 2}}, "beta": 0.1}
    tiny_config(Path("m"), update=grouped, model={"lora": {}})
    with pytest.raises(ValidationError, match="zero_hpz_partition_size is for one model"):
        tiny_config(Path("m"), update=grouped)
