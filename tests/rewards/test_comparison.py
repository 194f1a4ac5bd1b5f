"""Samples are compared two by two in both orders; a score is the share of wins that is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rvpo.config.judge import BudgetConfig
from rvpo.config.rewards import Condition, RewardConfig
from rvpo.errors import RewardError
from rvpo.judge.types import Answer, Question
from rvpo.rewards.comparison import ComparisonReward, pairs_of
from rvpo.rewards.duels import Duels
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.types import Rollout, RolloutScores
from tests.fakes import FakeJudge, make_criteria, make_prompt, make_sample, on_each_rank, only, says

Rule = Callable[[str, Question], Answer]
BETTER = ComparisonReward(name="better", question="Which is longer?")
LOOSE = BudgetConfig(group=1, step=1)


def rollout(texts: Sequence[str], *, size: int | None = None, **columns: Any) -> Rollout:
    """The texts in order, in groups of so many or in one."""
    size = size or len(texts)
    samples = tuple(
        make_sample(make_prompt(f"p/{row // size}", **columns), text)
        for row, text in enumerate(texts)
    )
    return Rollout(samples=samples, group_size=size)


def by_length(response: str, question: Question) -> Answer:
    """The longer one is better."""
    first, second = len(response), len(question.other)
    value = 0.5 if first == second else float(first > second)
    return Answer(value=value, reason=f"{first} against {second}")


def scored(
    texts: Sequence[str],
    rule: Rule = by_length,
    reward: ComparisonReward = BETTER,
    budget: BudgetConfig = LOOSE,
    size: int | None = None,
) -> RolloutScores:
    suite = RewardSuite([reward]).judged_by(only(FakeJudge(rule), budget))
    return suite(rollout(texts, size=size))


def failing(*pairs: tuple[str, str]) -> Rule:
    """Fails on these pairs in this order."""

    def rule(response: str, question: Question) -> Answer:
        lost = (response, question.other) in pairs
        return Answer(value=None, failure="timeout") if lost else by_length(response, question)

    return rule


def test_a_score_is_the_share_of_wins_and_a_tie_is_half_of_one() -> None:
    values = scored(["a", "aaa", "bb", "cc"]).rewards.values
    assert values[:, 0].tolist() == pytest.approx([0, 1, 0.5, 0.5])


def test_every_pair_is_asked_about_in_both_orders() -> None:
    judge = FakeJudge(by_length)
    RewardSuite([BETTER]).judged_by(only(judge))(rollout(["a", "bb", "ccc"]))
    asked = sorted((j.response, q.other) for j in judge.jobs for q in j.questions)
    texts = ["a", "bb", "ccc"]
    assert asked == sorted((x, y) for x in texts for y in texts if x != y)
    assert {q.text for j in judge.jobs for q in j.questions} == {"Which is longer?"}


def test_a_judge_that_goes_by_place_alone_teaches_nothing_and_is_found_out() -> None:
    for value, bias in ((1.0, 0.5), (0.0, -0.5)):
        found = scored(["a", "bb", "ccc"], lambda r, q, v=value: Answer(value=v))
        assert found.rewards.values[:, 0].tolist() == [0.5] * 3
        assert found.metrics["judge/better/position_bias"] == bias
        assert found.metrics["judge/better/contrary_frac"] == 1
        assert found.metrics["judge/better/tie_frac"] == 0


def test_a_judge_that_goes_by_the_answers_has_no_bias() -> None:
    metrics = scored(["a", "bb", "ccc"]).metrics
    assert metrics["judge/better/position_bias"] == 0
    assert metrics["judge/better/contrary_frac"] == 0


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.sampled_from(["all", "circle", 1, 3, 4, 99]))
def test_scores_are_those_of_a_plain_table_of_verdicts(seed: int, size: int, pairs: Any) -> None:
    """The reference counts over a matrix of verdicts, by the definition."""
    chance = random.Random(seed)
    texts = [chance.choice("abcdef") * chance.randint(1, 2) for _ in range(size)]
    table = {
        (x, y): chance.choice([0.0, 0.5, 1.0, 1.0, None]) for x in set(texts) for y in set(texts)
    }
    found = scored(
        texts,
        lambda r, q: Answer(value=table[r, q.other], failure="lost"),
        replace(BETTER, pairs=pairs),
    )
    met: list[list[int]] = [[] for _ in texts]
    for i, j in pairs_of(pairs, size):
        met[i].append(j)
        met[j].append(i)
    for i in range(size):
        shares = []
        for j in met[i]:
            there, back = table[texts[i], texts[j]], table[texts[j], texts[i]]
            if texts[i] == texts[j]:
                shares.append(0.5)
            elif there is not None and back is not None:
                shares.append((there + (1 - back)) / 2)
        known = 2 * len(shares) >= len(met[i])
        assert bool(found.rewards.valid[i, 0]) == known
        assert ((i, 0) in found.failures) != known
        if known:
            assert found.rewards.values[i, 0].item() == pytest.approx(fmean(shares))


@settings(deadline=None)
@given(st.one_of(st.sampled_from(["all", "circle"]), st.integers(1, 20)), st.integers(1, 17))
def test_every_sample_meets_as_many_others(pairs: Any, size: int) -> None:
    found = pairs_of(pairs, size)
    met = [sum(i in pair for pair in found) for i in range(size)]
    wanted = {"all": size - 1, "circle": 2}.get(pairs, pairs)
    wanted = min(wanted, size - 1)
    assert set(met) == {wanted + (wanted % 2 and size % 2)}
    assert len(set(found)) == len(found)
    assert all(i < j < size for i, j in found)


def test_all_pairs_are_all_pairs() -> None:
    for size in range(1, 9):
        assert pairs_of("all", size) == tuple(combinations(range(size), 2))


def test_equal_answers_are_a_tie_that_nobody_is_asked_about() -> None:
    judge = FakeJudge(by_length)
    suite = RewardSuite([BETTER]).judged_by(only(judge))
    found = suite(rollout(["same", "same", "same"]))
    assert found.rewards.values[:, 0].tolist() == [0.5] * 3
    assert not judge.jobs
    found = suite(rollout(["a", "a", "bb"]))
    assert found.rewards.values[:, 0].tolist() == [0.25, 0.25, 1]
    assert sum(len(job.questions) for job in judge.jobs) == 3  # of bb against a once


def test_a_failed_pair_is_missing_and_the_score_is_the_mean_of_the_others() -> None:
    found = scored(["a", "bb", "ccc", "dddd"], failing(("bb", "ccc")))
    assert found.rewards.values[:, 0].tolist() == pytest.approx([0, 0.5, 0.5, 1])
    assert found.rewards.valid.all()
    assert found.remarks[1, 0].answer == "1 won, 1 lost, 1 unknown"


def test_a_sample_with_fewer_than_half_of_its_pairs_is_missing_and_never_0() -> None:
    texts = ["a", "bb", "ccc", "dddd"]
    found = scored(texts, failing(("a", "bb"), ("ccc", "a")))
    assert found.rewards.valid[:, 0].tolist() == [False, True, True, True]
    assert found.failures == {(0, 0): "timeout"}
    everything = scored(texts, lambda r, q: Answer(value=None, failure="http 500"))
    assert not everything.rewards.valid.any()
    assert set(everything.failures.values()) == {"http 500"}


def test_a_verdict_is_lost_with_the_one_in_the_other_order() -> None:
    """One of the 12 failed, and two cannot be used."""
    texts, rule = ["a", "bb", "ccc", "dddd"], failing(("bb", "ccc"))
    with pytest.raises(RewardError, match=r"2 of the 12 verdicts .*\(1 timeout\)"):
        scored(texts, rule, budget=BudgetConfig(step=0.1))
    left_out = scored(texts, rule, budget=BudgetConfig(step=1, group=0.1))
    assert left_out.metrics["judge/skipped_groups"] == 1
    assert not left_out.rewards.valid.any()
    assert scored(texts, rule, budget=BudgetConfig(step=0.17, group=0.17)).rewards.valid.all()


def test_what_is_only_logged_stops_no_run() -> None:
    suite = RewardSuite([replace(BETTER, weight=0.0), Reward("good", lambda **_: [1.0, 0.0])])
    lost = FakeJudge(lambda r, q: Answer(value=None, failure="timeout"))
    found = suite.judged_by(only(lost, BudgetConfig(step=0)))(rollout(["a", "bb"]))
    assert found.rewards.valid.tolist() == [[False, True]] * 2


def test_a_group_is_compared_as_soon_as_it_is_whole() -> None:
    judge = FakeJudge(by_length)
    whole = rollout(["a", "bb", "ccc", "dddd"], size=2)
    scoring = RewardSuite([BETTER]).judged_by(only(judge)).begin(group_size=2)
    scoring.take(3, whole.samples[3])
    scoring.take(0, whole.samples[0])
    assert not judge.jobs
    scoring.take(2, whole.samples[2])
    assert [(j.response, j.questions[0].other) for j in judge.jobs] == [
        ("ccc", "dddd"),
        ("dddd", "ccc"),
    ]
    found = scoring.collect(whole)
    assert len(judge.jobs) == 4
    assert found.rewards.values[:, 0].tolist() == [0, 1, 0, 1]


def test_criteria_are_asked_at_once_and_comparisons_with_the_group() -> None:
    def rule(response: str, question: Question) -> Answer:
        return (by_length if question.kind == "comparison" else says)(response, question)

    judge = FakeJudge(rule)
    rubric = RubricReward(name="rubric", form="channels")
    whole = rollout(["a", "bb"], rubric=make_criteria("a"))
    suite = RewardSuite([rubric, BETTER]).fitted([s.prompt for s in whole.samples])
    scoring = suite.judged_by(only(judge)).begin(group_size=2)
    scoring.take(0, whole.samples[0])
    assert [q.kind for job in judge.jobs for q in job.questions] == ["criterion"]
    found = scoring.collect(whole)
    assert found.rewards.values.tolist() == [[1, 0], [0, 1]]
    assert found.metrics["judge/rubric/verdicts"] == 2
    assert found.metrics["judge/better/verdicts"] == 2
    assert found.metrics["judge/verdicts"] == 4


def test_thoughts_are_compared_where_the_reward_sees_everything() -> None:
    texts = ["<think>long thought</think>a", "bb"]
    assert scored(texts).rewards.values[:, 0].tolist() == [0, 1]
    everything = scored(texts, reward=replace(BETTER, sees="everything"))
    assert everything.rewards.values[:, 0].tolist() == [1, 0]


def test_answers_that_differ_in_their_thoughts_alone_are_equal() -> None:
    judge = FakeJudge(by_length)
    suite = RewardSuite([BETTER]).judged_by(only(judge))
    suite(rollout(["<think>x</think>a", "<think>y</think>a"]))
    assert not judge.jobs


def test_a_condition_holds_for_a_comparison_and_may_be_one() -> None:
    good = Reward("good", lambda completions, **_: [0.0] + [1.0] * (len(completions) - 1))
    gated = replace(BETTER, condition=Condition("good", 1.0))
    bonus = Reward("bonus", lambda completions, **_: [1.0] * len(completions),
                   condition=Condition("better", 0.9))  # fmt: skip
    suite = RewardSuite([gated, good, bonus]).judged_by(only(FakeJudge(by_length)))
    values = suite(rollout(["aaa", "b", "cc"])).rewards.values
    assert values[:, 0].tolist() == [0, 0, 0.5]
    assert values[:, 2].tolist() == [1, 0, 0]


def test_a_sample_without_siblings_has_no_score_and_no_failure() -> None:
    found = scored(["a"])
    assert not found.rewards.valid.any()
    assert not found.failures
    assert reward_metrics(found)["rewards/better/failed_frac"] == 0


def test_remarks_count_wins_and_quote_the_judge() -> None:
    remark = scored(["a", "bb", "cc"]).remarks[1, 0]
    assert remark.question == "Which is longer?"
    assert remark.answer == "1 won, 1 tied"
    assert remark.reason == "2 against 1"


def test_shares_of_all_ranks_are_those_of_all_verdicts() -> None:
    suite = RewardSuite([BETTER]).judged_by(only(FakeJudge(lambda r, q: Answer(value=1.0)), LOOSE))
    fair = RewardSuite([BETTER]).judged_by(only(FakeJudge(by_length), LOOSE))
    texts = ["a", "bb"]
    alone = [each(rollout(texts)).metrics["judge/better/position_bias"] for each in (suite, fair)]
    both = on_each_rank(
        lambda ranks: (suite if ranks.rank else fair).begin().collect(rollout(texts), ranks)
    )
    assert alone == [0.5, 0]
    for found in both:
        assert isinstance(found, RolloutScores)
        assert found.metrics["judge/better/position_bias"] == 0.25
        assert found.rewards.values[:, 0].tolist() == [0, 1, 0.5, 0.5]


def test_counts_of_comparisons_add_up() -> None:
    parts = [[(1.0, 1.0), (0.5, None)], [(0.0, 1.0), (0.5, 0.5)]]
    both = Duels.of(parts[0]) + Duels.of(parts[1])
    assert both == Duels.of(parts[0] + parts[1])
    assert both == Duels(verdicts=7, first=4.5, ties=3, pairs=3, contrary=1)
    assert Duels().metrics("judge/better") == {}


def built(settings: dict[str, Any]) -> Any:
    config = TypeAdapter[Any](RewardConfig).validate_python(settings)
    return RewardSuite.from_config({"better": config}, ("judge", "gold")).rewards[0]


def test_settings_make_a_comparison() -> None:
    question = "Which response is friendlier?"
    assert built({"compare": question}) == ComparisonReward(name="better", question=question)
    whole = {"compare": question, "pairs": 4, "judge": "gold", "sees": "everything", "weight": 2}
    assert built(whole) == ComparisonReward(
        name="better", question=question, pairs=4, judge="gold", sees="everything", weight=2.0
    )
    assert built({"compare": question, "pairs": "circle"}).pairs == "circle"


@pytest.mark.parametrize(
    "wrong",
    [
        {"compare": " "},
        {"compare": "Which?", "pairs": 0},
        {"compare": "Which?", "pairs": "some"},
        {"compare": "Which?", "pairs": True},
        {"compare": "Which?", "rubric": "channels"},
        {"compare": "Which?", "criteria": {}},
    ],
)
def test_settings_that_make_no_comparison_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        built(wrong)


def test_scores_do_not_depend_on_the_order_in_which_samples_come() -> None:
    texts = ["a", "bb", "ccc", "dd", "e", "ff", "ggg", "hh"]
    whole = rollout(texts, size=4)
    expected = scored(texts, size=4)
    for seed in range(3):
        scoring = RewardSuite([BETTER]).judged_by(only(FakeJudge(by_length))).begin(group_size=4)
        for row in random.Random(seed).sample(range(8), 8):
            scoring.take(row, whole.samples[row])
        assert torch.equal(scoring.collect(whole).rewards.values, expected.rewards.values)
