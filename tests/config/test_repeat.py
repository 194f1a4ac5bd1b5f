"""Settings of repeated verdicts, and of what goes by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from rvpo.advantage import Estimator
from rvpo.config.judge import RepeatConfig
from rvpo.config.run import RunConfig
from tests.configs import tiny_config

NOWHERE = {"model": "judge", "endpoints": [{"url": "http://127.0.0.1:9/v1"}]}
RUBRIC = {"polite": {"rubric": "channels"}}


def run(repeat: Any = None, **sections: Any) -> RunConfig:
    judge = NOWHERE if repeat is None else NOWHERE | {"repeat": repeat}
    return tiny_config(Path("unused"), **({"rewards": RUBRIC, "judge": judge} | sections))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (3, RepeatConfig(times=3)),
        ({}, RepeatConfig()),
        ({"share": 1, "half_life": 5}, RepeatConfig(share=1.0, half_life=5.0)),
    ],
)
def test_a_number_of_times_is_enough(given: Any, meant: RepeatConfig) -> None:
    config = run(given)
    assert config.judge is not None
    assert config.judge.repeat == meant


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (1, "times"),
        (True, "must be a number, got true"),
        (2.5, "times"),
        ("often", "repeat"),
        ({"share": 0}, "share"),
        ({"share": 1.5}, "share"),
        ({"half_life": 0}, "half_life"),
        ({"shares": 0.1}, "shares"),
    ],
)
def test_what_is_no_repeat_is_refused_by_name(wrong: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        run(wrong)


@pytest.mark.parametrize("name", [kind.name for kind in get_args(Estimator)])
def test_every_estimator_weighs_by_reliability_where_a_judge_is_asked_again(name: str) -> None:
    weighing = {"name": name, "weight_by_reliability": True}
    assert run(2, advantage=weighing).advantage.weight_by_reliability
    computed = {"vowels": {"function": "tests.toy:vowels"}}
    for repeat, sections in (
        (None, {}),
        (None, {"judges": {"gold": NOWHERE | {"repeat": 2}}}),  # which no reward asks
        (2, {"rewards": computed}),
    ):
        with pytest.raises(ValidationError, match="no reward's judge is asked for a verdict again"):
            run(repeat, advantage=weighing, **sections)


@pytest.mark.parametrize("kind", [{"rubric": "channels"}, {"compare": "Which is kinder?"}], ids=str)
def test_the_judge_that_a_reward_names_counts(kind: dict[str, str]) -> None:
    config = run(
        judges={"gold": NOWHERE | {"repeat": 2}},
        rewards={"polite": kind | {"judge": "gold"}},
        advantage={"name": "rvpo", "weight_by_reliability": True},
    )
    assert config.advantage.weight_by_reliability


def test_calls_grow_by_the_share_that_is_asked_again() -> None:
    judges = [run(repeat).judge for repeat in (None, {"times": 3, "share": 0.25})]
    assert [judge and judge.repeated for judge in judges] == [1.0, 1.5]


def test_the_sentence_names_the_judge_that_a_reward_asks() -> None:
    with pytest.raises(ValidationError, match=r"set judges\.gold\.repeat={times: 2, share: 0\.1}"):
        run(
            judges={"gold": NOWHERE},
            rewards={"polite": {"rubric": "channels", "judge": "gold"}},
            advantage={"name": "grpo", "weight_by_reliability": True},
        )
