"""What is good enough of a reward is said once, and what has no level is refused in time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rvpo.config.levels import disputed, good_enough
from rvpo.config.run import RunConfig
from rvpo.errors import RewardError
from rvpo.rewards import length, repetition, tool_calling
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.satisfied import Satisfied
from rvpo.trainer.rehearsal import rehearse_rewards
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.rollout.test_stops import read

LOGITS = {"classifier": "org/model"}
READS_LEVELS = [{"name": "level_min"}, {"name": "grpo", "inputs": "level"}]


def run(rewards: dict[str, Any], **sections: Any) -> RunConfig:
    return tiny_config(
        Path("model"), **{"advantage": {"name": "level_min"}} | sections, rewards=rewards
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1.5, Satisfied(0, 1.5)),
        ({"good": 2}, Satisfied(0, 2)),
        ({"bad": -3, "good": 3}, Satisfied(-3, 3)),
        (None, None),
    ],
)
def test_number_alone_is_what_is_good(written: Any, meant: Satisfied | None) -> None:
    config = run({"late": {"function": "tests.toy:late", "satisfied": written}})
    assert config.rewards["late"].satisfied == meant
    assert RunConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (0, r"good must be above bad, got bad 0 and good 0; give both"),
        ({"bad": 2, "good": 1}, "good must be above bad, got bad 2 and good 1"),
        ({"good": float("inf")}, "bad and good must be finite"),
        ({"best": 1}, "best"),
        ("much", "Satisfied"),
    ],
)
def test_what_is_no_declaration_is_refused(written: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        run({"late": {"function": "tests.toy:late", "satisfied": written}})


@pytest.mark.parametrize("advantage", READS_LEVELS)
def test_logits_need_a_declaration_where_levels_are_read(advantage: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"rewards\.liked\.satisfied: .*any number"):
        run({"liked": LOGITS}, advantage=advantage)
    run({"liked": {**LOGITS, "satisfied": {"bad": -2, "good": 2}}}, advantage=advantage)
    run({"liked": {**LOGITS, "score": "probability"}}, advantage=advantage)
    run({"liked": {**LOGITS, "weight": 0}, "late": {"function": "tests.toy:late"}})
    run({"liked": LOGITS}, advantage={"name": "grpo"})


def test_condition_must_not_pay_more_than_what_is_bad() -> None:
    late = {"function": "tests.toy:late", "only_if": {"reward": "vowels"}}
    vowels = {"function": "tests.toy:vowels"}
    with pytest.raises(
        ValidationError, match=r"rewards\.late\.satisfied: only_if gives 0 .*bad: -1"
    ):
        run({"vowels": vowels, "late": {**late, "satisfied": {"bad": -1, "good": 1}}})
    run({"vowels": vowels, "late": {**late, "satisfied": {"bad": 0.5, "good": 1}}})


def test_evaluation_does_not_contradict_a_reward() -> None:
    rewards = {"late": {"function": "tests.toy:late", "satisfied": 2}}
    held_out = {"held_out": {"function": "tests.toy:letters", "arguments": {"count": 4}}}
    with pytest.raises(ValidationError, match=r"evaluate\.satisfied\.late: 1, and rewards\.late"):
        run(rewards, data=held_out, evaluate={"satisfied": {"late": 1}})
    run(rewards, data=held_out, evaluate={"satisfied": {"late": 2, "late/part": 1}})


def test_runs_agree_on_what_they_say_alike() -> None:
    one = run({"late": {"function": "tests.toy:late", "satisfied": 2}}).rewards
    other = run({"late": {"function": "tests.toy:late", "satisfied": 3}}).rewards
    silent = run({"late": {"function": "tests.toy:late"}}).rewards
    assert (good_enough([one, one]), disputed([one, one])) == ({"late": 2}, [])
    for pair in ([one, other], [one, silent], [silent, one]):
        assert math.isnan(good_enough(pair)["late"])
        assert disputed(pair) == ["late"]
    verdict = run({"late": {"function": "tests.toy:late", "satisfied": 1}}).rewards
    for pair in ([verdict, silent], [silent, verdict]):
        assert (good_enough(pair), disputed(pair)) == ({"late": 1}, [])
    assert good_enough([silent, silent]) == {}


def reward(function: Any, **fields: Any) -> Reward:
    return Reward("mine", function, **fields)


@pytest.mark.parametrize(
    ("found", "bounds"),
    [
        (reward(tool_calling.correctness), (-3, 3)),
        (reward(tool_calling.format), None),
        (reward(length.soft_overlong, arguments={"longest": 9, "margin": 2}), (-1, 0)),
        (reward(length.linear, arguments={"longest": 9}), (0, 1)),
        (reward(length.linear, arguments={"longest": 9, "end": -0.5}), (-0.5, 1)),
        (reward(length.cosine, arguments={"longest": 9, "start": -2, "end": -1}), (-2, -1)),
        (reward(repetition.repeated), (-1, 0)),
        (reward(repetition.repeated, arguments={"penalty": -4}), (-4, 0)),
    ],
)
def test_bounds_of_ready_rewards_are_known(found: Reward, bounds: Any) -> None:
    assert found.bounds == bounds


def rehearse(model: Path, found: Reward, advantage: str = "level_min") -> None:
    prompts = [make_prompt(f"p/{i}", "2 + 2?", solution="4") for i in range(3)]
    config = tiny_config(model, advantage={"name": advantage})
    rehearse_rewards(config, RewardSuite([found]), prompts, read(model)[0])


def test_bounds_are_held_against_levels_before_anything_is_generated(tiny_model: Path) -> None:
    """All invented answers are short, and score 0."""
    overlong = {"function": length.soft_overlong, "arguments": {"longest": 900, "margin": 2}}
    with pytest.raises(RewardError, match=r"between -1 and 0, .*satisfied: {bad: -1, good: 0}"):
        rehearse(tiny_model, reward(**overlong))
    rehearse(tiny_model, reward(**overlong, satisfied=Satisfied(-1, 0)))
    rehearse(tiny_model, reward(**overlong, weight=0.0))
    rehearse(tiny_model, reward(**overlong), advantage="grpo")


def test_scores_are_held_against_levels_before_anything_is_generated(tiny_model: Path) -> None:
    def lengths(completions: list[Any], **columns: Any) -> list[float]:
        return [float(len(each[0]["content"])) for each in completions]

    with pytest.raises(RewardError, match=r"'mine' has a score of .*; so found in a rehearsal"):
        rehearse(tiny_model, reward(lengths))
    rehearse(tiny_model, reward(lengths, satisfied=Satisfied(0, 40)))
    rehearse(tiny_model, reward(lengths, weight=0.0))
    rehearse(tiny_model, reward(lengths), advantage="rvpo")
