"""Sampling of held-out prompts and benchmarks, which takes the place of that of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.benchmarks.gpqa.gpqa import GpqaConfig
from rvpo.config.held_out import EvaluateConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.fields import SamplingSection
from tests.configs import tiny_config

values = st.fixed_dictionaries(
    {},
    optional={
        "top_p": st.floats(0.1, 1),
        "top_k": st.integers(0, 100),
        "min_p": st.floats(0, 0.9),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "repetition_penalty": st.floats(0.5, 2),
        "stop": st.lists(st.text(min_size=1), min_size=1).map(tuple),
    },
)


@settings(deadline=None, max_examples=40)
@given(values, st.none() | st.just(0.0) | st.floats(0.1, 2))
def test_held_out_prompts_have_what_is_said_of_them_and_else_that_of_training(
    own: dict[str, Any], temperature: float | None
) -> None:
    usual = RolloutConfig(top_p=0.8, top_k=40, stop=("end",)).sampling
    found = EvaluateConfig(temperature=temperature, **own).sampling(usual) or usual
    assert found.temperature == (1.0 if temperature is None else temperature)
    for name in SamplingSection.model_fields:
        assert getattr(found, name) == own.get(name, getattr(usual, name))


def test_nothing_said_is_the_engines_own_sampling() -> None:
    usual = RolloutConfig(top_p=0.8, top_k=40).sampling
    assert EvaluateConfig().sampling(usual) is None
    assert EvaluateConfig(top_p=0.8).sampling(usual) is None
    free = EvaluateConfig(top_p=1.0, top_k=0).sampling(usual)
    assert free == RolloutConfig().sampling


def test_one_text_may_be_given_alone() -> None:
    assert RolloutConfig.model_validate({"stop": "x"}).sampling.stop == ("x",)


@pytest.mark.parametrize("place", ["evaluate", "benchmark"])
def test_an_engine_that_cannot_draw_so_is_named_with_the_setting(
    place: str, tiny_model: Path
) -> None:
    drawn = {"structured": {"choice": ["A", "B"]}}
    where = drawn if place == "evaluate" else {"benchmarks": {"gpqa": drawn | {"path": "gpqa"}}}
    with pytest.raises(ValidationError, match=r"evaluate(\.benchmarks\.gpqa)?\.structured: tran"):
        tiny_config(tiny_model, evaluate=where)


def test_a_benchmark_that_says_nothing_of_it_keeps_its_identity() -> None:
    assert not set(SamplingSection.model_fields) & set(identity())
    assert identity(top_p=0.95)["top_p"] == 0.95
    assert identity(stop="x") != identity(stop="y")


def identity(**settings: Any) -> dict[str, Any]:
    from rvpo.benchmarks.benchmark import Benchmark

    config = GpqaConfig.model_validate({"path": "questions", **settings})
    return dict(Benchmark(config, ()).identity)
