"""A reward that tells no answers apart is named once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.report.constant import PATIENCE, ConstantRewards
from tests.fakes import make_record, make_scores

Values = list[list[float | None]]


def said(*steps: Values) -> list[str]:
    heard: list[str] = []
    report = ConstantRewards(heard.append)
    for number, values in enumerate(steps, start=1):
        report(replace(make_record(number), scored=make_scores(values)))
    return heard


def test_a_reward_of_one_value_is_named_once_with_its_value() -> None:
    (sentence,) = said(*[[[0.0, 0.1], [0.0, 0.2], [0.0, 0.3], [0.0, 0.1]]] * (3 * PATIENCE))
    assert sentence.startswith(f"reward 'correct' has scored every answer 0 for {PATIENCE} steps")


def test_a_value_for_each_prompt_teaches_nothing_either() -> None:
    (sentence,) = said(*[[[0.0, 0.1], [0.0, 0.2], [1.0, 0.3], [1.0, 0.1]]] * PATIENCE)
    assert "'correct' has not told any two answers to a prompt apart" in sentence


def test_a_reward_without_scores_is_named() -> None:
    (sentence,) = said(*[[[None, 0.1], [None, 0.2], [None, 0.3], [None, 0.1]]] * PATIENCE)
    assert "'correct' has scored nothing" in sentence


def test_a_reward_whose_scores_all_failed_is_named_with_the_reason() -> None:
    heard: list[str] = []
    report = ConstantRewards(heard.append)
    reasons = ["world_broken: it is gone", "tool_failed: late", "world_broken: it is gone"]
    failures = {(row, 0): reason for row, reason in enumerate(reasons)}
    for step in range(PATIENCE):
        scored = make_scores([[None, float(row)] for row in range(4)], failures=failures)
        report(replace(make_record(step), scored=scored))
    (sentence,) = heard
    assert sentence.startswith("reward 'correct' has no score in 3 steps")
    assert sentence.endswith("most often for world_broken: it is gone")


@given(st.integers(0, PATIENCE - 1), st.integers(0, 1))
@settings(deadline=None)
def test_one_difference_within_a_group_is_enough(step: int, group: int) -> None:
    steps: list[Values] = [[[0.5, float(row % 2)] for row in range(4)] for _ in range(2 * PATIENCE)]
    steps[step][2 * group][0] = 0.25
    assert said(*steps) == []


def test_too_few_steps_say_nothing() -> None:
    assert said(*[[[0.0, 0.0]] * 4] * (PATIENCE - 1)) == []
