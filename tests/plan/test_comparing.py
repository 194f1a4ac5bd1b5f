"""Pairs that are compared are counted before they are paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.judge.types import Answer
from rvpo.plan.comparing import compared_by, room_findings, with_comparisons
from rvpo.plan.judging import Load, load, load_findings
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.types import Rollout
from tests.configs import tiny_config
from tests.fakes import FakeJudge, make_criteria, make_prompt, make_sample, only

ENDPOINT = {"url": "http://127.0.0.1:9/v1", "input_price": 1.0, "output_price": 10.0}
PROMPTS = [make_prompt(f"p/{p}", rubric=make_criteria("a", "b")) for p in range(3)]


def judged(pairs: Any = "all", rubric: bool = False, group: int = 4, **sections: Any) -> RunConfig:
    rewards: dict[str, Any] = {"better": {"compare": "Which is kinder?", "pairs": pairs}}
    if rubric:
        rewards["rubric"] = {"rubric": "channels"}
    return tiny_config(
        Path("unused"),
        **{
            "rewards": rewards,
            "rollout": {"samples_per_prompt": group},
            "judge": {"model": "fake", "endpoints": [ENDPOINT]},
            "steps": 10,
            **sections,
        },
    )


def loaded(config: RunConfig, name: str = "judge") -> Load:
    rewards = RewardSuite.from_config(config.rewards, config.every_judge).rewards
    rubrics = [r for r in rewards if isinstance(r, RubricReward)]
    comparisons = [r for r in rewards if isinstance(r, ComparisonReward)]
    alone = load(config, rubrics, PROMPTS, name)
    return with_comparisons(config, alone, comparisons, PROMPTS, name)


@pytest.mark.parametrize("group", [2, 5, 8])
@pytest.mark.parametrize("pairs", ["all", "circle", 3])
def test_calls_are_those_that_a_rollout_makes(pairs: Any, group: int) -> None:
    config = judged(pairs, group=group)
    judge = FakeJudge(lambda r, q: Answer(value=1.0))
    suite = RewardSuite.from_config(config.rewards, ("judge",)).judged_by(only(judge))
    samples = tuple(make_sample(PROMPTS[0], f"text {g}") for g in range(group))
    suite(Rollout(samples=samples, group_size=group))
    made = sum(len(job.questions) for job in judge.jobs)
    assert loaded(config).calls * group == pytest.approx(made)


def test_steps_and_held_out_prompts_are_counted() -> None:
    # 2 prompts of 4 samples, each met by 3 others: 24 calls a step, 10 steps; 5 held-out prompts of
    # 4 samples, of which the evaluation after training asks 2 calls each and that before it none
    config = judged()
    found = {f.part: f.found for f in load_findings(config, loaded(config), held_out=5)}
    assert found["judge calls"] == "24 a step, 3.0 a sample; 280 in all, 40 of them held out"


def test_criteria_and_pairs_add_up() -> None:
    both, pairs, criteria = judged(rubric=True), judged(), loaded(judged(rubric=True))
    assert criteria.calls == loaded(pairs).calls + 2
    found = {f.part: f.found for f in load_findings(both, criteria, held_out=0)}
    assert found["judge calls"].startswith("40 a step, 5.0 a sample")


def test_a_call_about_a_pair_sends_two_responses() -> None:
    long = judged(rollout={"samples_per_prompt": 4, "max_completion_tokens": 1000})
    short = judged(rollout={"samples_per_prompt": 4, "max_completion_tokens": 100})
    assert loaded(long).input_tokens - loaded(short).input_tokens == pytest.approx(900)
    assert loaded(short).input_tokens > 200  # rules and conversation


def test_the_judge_of_evaluations_is_asked_about_held_out_pairs_alone() -> None:
    gold = {"gold": {"model": "gold", "endpoints": [ENDPOINT]}}
    config = judged(judges=gold, evaluate={"judge": "gold"})
    assert (loaded(config).calls, loaded(config).held_out) == (3, 0)
    assert (loaded(config, "gold").calls, loaded(config, "gold").held_out) == (0, 1)
    better = [ComparisonReward(name="better", question="Which?")]
    assert all(compared_by(config, name, better) for name in ("judge", "gold"))
    assert not compared_by(judged(judges=gold), "gold", better)


def test_a_run_without_comparisons_is_planned_as_before() -> None:
    config = judged()
    alone = load(config, [], PROMPTS)
    assert with_comparisons(config, alone, [], PROMPTS, "judge") is alone


def test_two_responses_that_a_served_judge_has_no_room_for_are_told() -> None:
    serve = {"serve": {"model": "x", "max_context_tokens": 2000}, "max_tokens": 100}
    better = [ComparisonReward(name="better", question="Which?")]
    for tokens, count in ((400, 0), (800, 1)):
        config = judged(
            rollout={"samples_per_prompt": 4, "max_completion_tokens": tokens}, judge=serve
        )
        found = room_findings(config, better, PROMPTS, "judge")
        assert len(found) == count
    assert "two responses of 800" in found[0].found
