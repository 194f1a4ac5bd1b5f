"""Criteria become channels, failures stay unknown, and a judge that fails stops the run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo import RVPO
from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.config.judge import BudgetConfig
from rvpo.config.rewards import Condition, RubricRewardConfig
from rvpo.criterion import Criterion
from rvpo.errors import DataError, RewardError, SpentError
from rvpo.judge.spending import SPENT
from rvpo.judge.types import Answer, Question
from rvpo.rewards.budget import keep_within
from rvpo.rewards.cell import Cell
from rvpo.rewards.condition import conditioned
from rvpo.rewards.judging import NOT_ASKED, Judging, Verdicts, as_done
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.schedule import Ramp
from rvpo.types import Failed, Prompt, Rewards, Rollout, RolloutScores
from tests.fakes import (
    FakeJudge,
    make_criteria,
    make_prompt,
    make_sample,
    only,
    says,
    with_columns,
)

Rule = Callable[[str, Question], Answer]


def rollout(prompts: Sequence[Prompt], *texts: str) -> Rollout:
    """Every text answers every prompt."""
    samples = [make_sample(prompt, text) for prompt in prompts for text in texts]
    return Rollout(samples=tuple(samples), group_size=len(texts))


def ragged() -> list[Prompt]:
    """One prompt with three criteria, one with a single one."""
    three = make_criteria("a", "b", "!c", label="essential", axis="accuracy")
    return [
        make_prompt("p/0", rubric=[*three[:2], {**three[2], "label": "pitfall"}]),
        make_prompt("p/1", rubric=make_criteria("d", label="optional")),
    ]


def judged(
    reward: RubricReward | Sequence[RubricReward | Reward],
    prompts: Sequence[Prompt],
    *texts: str,
    rule: Rule = says,
    budget: BudgetConfig | None = None,
) -> RolloutScores:
    rewards = [reward] if isinstance(reward, RubricReward) else list(reward)
    suite = RewardSuite(rewards).fitted(prompts)
    suite = suite.judged_by(only(FakeJudge(rule), budget or BudgetConfig(group=1, step=1)))
    return suite(rollout(prompts, *texts))


def failing(*texts: str) -> Rule:
    """Fails on criteria of these texts, answers the others."""

    def rule(response: str, question: Question) -> Answer:
        lost = question.text in texts
        return Answer(value=None, failure="timeout") if lost else says(response, question)

    return rule


CHANNELS = RubricReward(name="rubric", form="channels")


def test_criteria_are_channels_and_prompts_may_have_different_numbers_of_them() -> None:
    scored = judged(CHANNELS, ragged(), "ab", "bcd")
    assert scored.rewards.names == ("rubric/1", "rubric/2", "rubric/3")
    assert scored.rewards.values.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert scored.rewards.valid.tolist() == [[True] * 3, [True] * 3] + [[True, False, False]] * 2
    assert not scored.failures


def test_meeting_a_criterion_to_be_avoided_scores_0() -> None:
    prompts = [make_prompt("p/0", rubric=make_criteria("!c"))]
    assert judged(CHANNELS, prompts, "c", "x").rewards.values.tolist() == [[0], [1]]


def test_criteria_of_a_prompt_share_the_weight_of_the_rubric() -> None:
    reward = replace(CHANNELS, weight=2.0, weighing="class")
    weights = judged(reward, ragged(), "ab", "bcd").rewards.weights
    total = 1.0 + 1.0 + 0.9
    assert weights[0].tolist() == pytest.approx([2 / total, 2 / total, 1.8 / total])
    assert weights[2].tolist() == pytest.approx([2, 0, 0])


@settings(deadline=None)
@given(st.lists(st.integers(5, 17), min_size=2, max_size=4), st.integers(0, 99))
def test_rubrics_of_5_to_17_criteria_train_without_touching_one_another(
    sizes: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    prompts = [
        make_prompt(f"p/{i}", rubric=make_criteria(*(f"<{i}.{j}>" for j in range(size))))
        for i, size in enumerate(sizes)
    ]
    texts = ["".join(f"<{i}.{j}>" for i in range(4) for j in range(17) if chance.random() < 0.5)]
    texts += ["".join(f"<{i}.{j}>" for i in range(4) for j in range(17) if chance.random() < 0.5)]
    together = judged(CHANNELS, prompts, *texts).rewards
    assert together.valid.sum(dim=1).tolist() == [size for size in sizes for _ in texts]
    estimator = RVPO(k=1.0, whiten=False)
    alone = [estimator(judged(CHANNELS, [prompt], *texts).rewards).values for prompt in prompts]
    assert torch.allclose(estimator(together).values, torch.cat(alone), atol=1e-6)


def test_curves_show_classes_and_axes_and_not_places() -> None:
    metrics = reward_metrics(judged(CHANNELS, ragged(), "ab", "bcd"))
    assert metrics["rewards/rubric/mean"] == pytest.approx((3 + 1 + 0 + 1) / 8)
    assert metrics["rewards/rubric/essential/mean"] == pytest.approx(3 / 4)
    assert metrics["rewards/rubric/pitfall/mean"] == pytest.approx(1 / 2)
    assert metrics["rewards/rubric/optional/mean"] == pytest.approx(1 / 2)
    assert metrics["rewards/rubric/accuracy/mean"] == pytest.approx(4 / 6)
    assert not [name for name in metrics if "rubric/1" in name]


def test_diagnostics_add_up_over_the_criteria_of_a_class() -> None:
    scored = judged(CHANNELS, ragged(), "ab", "bcd")
    metrics = metrics_by_aspect(scored.rewards, RVPO(k=1.0)(scored.rewards), scored.aspects)
    assert metrics["advantage/weight/rubric"] == pytest.approx(1)
    parts = [metrics[f"advantage/weight/rubric/{n}"] for n in ("essential", "pitfall", "optional")]
    assert sum(parts) == pytest.approx(1)
    assert metrics["rewards/rubric/essential/zero_std_frac"] == pytest.approx(1 / 2)


def test_fixed_criteria_are_columns_by_name() -> None:
    fixed = {"polite": Criterion(text="please"), "rude": Criterion(text="!", polarity="negative")}
    scored = judged(replace(CHANNELS, fixed=fixed), [make_prompt()], "please", "!")
    assert scored.rewards.names == ("rubric/polite", "rubric/rude")
    assert scored.rewards.values.tolist() == [[1, 1], [0, 0]]
    assert tuple(scored.aspects) == ("rubric", "rubric/polite", "rubric/rude")


def test_explicit_is_the_weighted_mean_of_the_verdicts() -> None:
    reward = replace(CHANNELS, form="explicit", weighing="class")
    values = judged(reward, ragged(), "ab", "bcd").rewards.values[:, 0].tolist()
    total = 1.0 + 1.0 + 0.9
    assert values == pytest.approx([1, 1 / total, 0, 1])


def test_explicit_with_a_lost_verdict_is_lost() -> None:
    reward = replace(CHANNELS, form="explicit")
    scored = judged(reward, ragged(), "ab", "bcd", rule=failing("b"))
    assert scored.failures == {(0, 0): "timeout", (1, 0): "timeout"}


def test_implicit_is_one_call_with_the_whole_rubric() -> None:
    reward = replace(CHANNELS, form="implicit")
    prompts = ragged()
    judge = FakeJudge(says)
    suite = RewardSuite([reward]).fitted(prompts).judged_by(only(judge))
    scored = suite(rollout(prompts, "ab", "bcd"))
    assert [len(job.questions) for job in judge.jobs] == [1] * 4
    question = judge.jobs[0].questions[0]
    assert question == Question("rating", "1. a\n2. b\n3. (to be avoided) c")
    assert scored.rewards.values[0, 0] == pytest.approx(2 / 3)
    assert scored.remarks[0, 0].answer == "7 of 10"


def test_points_and_classes_are_not_shown_to_the_judge() -> None:
    secret = make_criteria("a", points=7.0, label="essential", axis="accuracy")
    for form in ("channels", "explicit", "implicit"):
        judge = FakeJudge(says)
        prompts = [make_prompt(rubric=secret)]
        suite = RewardSuite([RubricReward(name="r", form=form)]).fitted(prompts)
        suite.judged_by(only(judge))(rollout(prompts, "a", "b"))
        shown = str([job.questions for job in judge.jobs])
        assert not any(word in shown for word in ("7", "essential", "accuracy"))


def test_rewards_that_ask_the_same_share_the_answer() -> None:
    judge = FakeJudge(says)
    prompts = ragged()
    both = [CHANNELS, RubricReward(name="mean", form="explicit", weight=0.0)]
    suite = RewardSuite(both).fitted(prompts).judged_by(only(judge))
    metrics = suite(rollout(prompts, "ab", "bcd")).metrics
    assert sum(len(job.questions) for job in judge.jobs) == 2 * (3 + 1)
    assert metrics["judge/verdicts"] == metrics["judge/rubric/verdicts"] == 8
    assert metrics["judge/cost"] == pytest.approx(4)
    assert "judge/mean/verdicts" not in metrics


def test_lost_verdict_is_unknown_and_never_a_zero() -> None:
    scored = judged(CHANNELS, ragged(), "ab", "bcd", rule=failing("a"))
    assert scored.failures == {(0, 0): "timeout", (1, 0): "timeout"}
    assert scored.rewards.valid[:2].tolist() == [[False, True, True]] * 2
    assert scored.metrics["judge/rubric/failed_frac"] == pytest.approx(2 / 8)
    assert scored.metrics["judge/failures/timeout"] == 2


def test_group_that_lost_too_much_trains_nothing_and_the_others_go_on() -> None:
    scored = judged(
        [CHANNELS, Reward("length", length)],
        ragged(),
        "ab",
        "bcd",
        rule=failing("a"),
        budget=BudgetConfig(group=0.3, step=1),
    )
    assert not scored.rewards.valid[:2].any()
    assert scored.failures[0, 3] == "the group was left out: 2 of its 6 verdicts are missing"
    assert scored.metrics["judge/skipped_groups"] == 1
    advantages = RVPO()(scored.rewards)
    assert advantages.trained.tolist() == [False, False, True, True]


def test_step_that_lost_too_much_stops_the_run_with_the_reason() -> None:
    with pytest.raises(RewardError, match=r"2 of the 8 verdicts .* \(2 timeout\).*step=0.2") as it:
        judged(CHANNELS, ragged(), "ab", "bcd", rule=failing("a"), budget=BudgetConfig(step=0.2))
    assert "--resume" in str(it.value)


def test_what_the_server_said_and_what_helps_are_in_the_sentence() -> None:
    answer = Answer(value=None, failure="http 401", detail="no such key")
    with pytest.raises(RewardError) as it:
        judged(CHANNELS, ragged(), "ab", "bcd", rule=lambda *_: answer, budget=BudgetConfig())
    assert "(8 http 401)" in str(it.value)
    assert "Mend the judge (http 401: the server said 'no such key'; see that key_v" in str(
        it.value
    )
    assert str(it.value).endswith("then continue with --resume")


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("cache: database or disk is full", "free space on the disk of judge.cache"),
        ("cache: database is locked", "end the other process that keeps judge.cache locked"),
        ("cache: disk I/O error", "see that judge.cache can be read and written"),
    ],
)
def test_trouble_of_the_cache_is_not_laid_on_the_judge(reason: str, remedy: str) -> None:
    def sentence(**failures: int) -> str:
        with pytest.raises(RewardError) as it:
            keep_within(
                BudgetConfig(),
                with_columns(Rewards(torch.ones(2, 1), ["r"], group_size=2)),
                asked=[50, 50],
                failed=[50, 50],
                failures=Counter(failures),
                details={},
            )
        return str(it.value)

    assert NOT_ASKED.failure is not None
    cut_short = {reason: 21, NOT_ASKED.failure: 79}
    assert f"Mend the cache ({reason}: {remedy}" in sentence(**cut_short)
    assert "Mend the judge (cache" in sentence(**cut_short, timeout=1)
    assert "Mend the judge, then" in sentence(timeout=100)


@given(st.integers(1, 20), st.integers(0, 20))
def test_verdicts_that_there_is_no_money_for_stop_the_step_however_few(
    unasked: int, others: int
) -> None:
    with pytest.raises(SpentError) as stopped:
        keep_within(
            BudgetConfig(group=1, step=1, dollars=2.5),
            with_columns(Rewards(torch.ones(2, 1), ["r"], group_size=2)),
            asked=[50, 50],
            failed=[unasked + others, 0],
            failures=Counter({SPENT: unasked, "timeout": others}),
            details={},
            where="judges.gold",
        )
    assert str(stopped.value).startswith(
        f"judges.gold.budget.dollars: $2.5 are spent, and {unasked} of the 100 verdicts"
    )
    assert str(stopped.value).endswith("--resume judges.gold.budget.dollars=NUMBER")


def test_what_is_paid_for_is_waited_for() -> None:
    prompts = [make_prompt(rubric=make_criteria(*"abcdefgh"))]
    judge = FakeJudge(lambda response, question: Answer(value=None, failure=SPENT))
    suite = RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(judge, BudgetConfig(dollars=1)))
    with pytest.raises(SpentError, match="160 of the 160 verdicts"):
        suite(rollout(prompts, *map(str, range(20))))
    assert judge.cancelled == 0


def test_what_is_only_logged_stops_nothing() -> None:
    logged = replace(CHANNELS, weight=0.0)
    scored = judged(
        [logged, Reward("length", length)],
        ragged(),
        "ab",
        "bcd",
        rule=failing("a", "b", "c", "d"),
        budget=BudgetConfig(group=0, step=0),
    )
    assert scored.rewards.valid[:, -1].all()
    assert scored.metrics["judge/failed_frac"] == 1


def test_judge_that_is_down_is_not_waited_for() -> None:
    prompts = [make_prompt(rubric=make_criteria(*"abcdefgh"))]
    texts = [str(i) for i in range(20)]
    asked = 0

    def rule(response: str, question: Question) -> Answer:
        nonlocal asked
        asked += 1
        return Answer(value=None, failure="connection")

    class Patient(FakeJudge):
        """Answers some jobs and leaves the others open for ever."""

        def submit(self, job: Any) -> Any:
            self._held = len(self.jobs) >= 5
            return super().submit(job)

    judge = Patient(rule)
    suite = RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(judge))
    with pytest.raises(RewardError, match=r"160 of the 160 verdicts .*120 not asked.*40 conn"):
        suite(rollout(prompts, *texts))
    assert judge.cancelled
    assert asked == 40


def test_judge_is_asked_before_the_rollout_is_complete() -> None:
    prompts = ragged()
    whole = rollout(prompts, "ab", "bcd")
    judge = FakeJudge(says)
    suite = RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(judge))
    scoring = suite.begin()
    scoring.take(3, whole.samples[3])
    assert [job.response for job in judge.jobs] == ["bcd"]
    scoring.take(0, whole.samples[0])
    streamed = scoring.collect(whole)
    assert len(judge.jobs) == 4
    assert torch.equal(streamed.rewards.values, suite(whole).rewards.values)


def length(completions: Any, **columns: Any) -> list[float | None]:
    return [float(len(completion[0]["content"])) for completion in completions]


def test_remarks_are_the_judges_words_beside_the_score() -> None:
    scored = judged(CHANNELS, ragged(), "ab", "bcd")
    assert scored.remarks[1, 2].question == "c"
    assert scored.remarks[1, 2].answer == "met"
    assert scored.remarks[1, 2].reason == "it says bcd"


def test_remarks_tell_what_makes_a_score_of_a_verdict() -> None:
    remark = judged(replace(CHANNELS, weighing="class"), ragged(), "ab", "bcd").remarks[1, 2]
    assert asdict(remark) == {
        "question": "c",
        "answer": "met",
        "reason": "it says bcd",
        "polarity": "negative",
        "label": "pitfall",
        "axis": "accuracy",
        "share": pytest.approx(0.9 / 2.9),
    }


def test_mean_of_verdicts_can_be_made_again_from_its_remark() -> None:
    reward = replace(CHANNELS, form="explicit", weighing="class")
    scored = judged(reward, ragged(), "ab", "bcd")
    for row in range(4):
        remark = asdict(scored.remarks[row, 0])
        again = sum(
            part["share"] * ((part["answer"] == "met") == (part["polarity"] == "positive"))
            for part in remark["criteria"]
        )
        assert again == pytest.approx(float(scored.rewards.values[row, 0]))
        assert all(part["reason"].startswith("it says") for part in remark["criteria"])


def test_mean_that_lacks_a_verdict_keeps_the_others() -> None:
    reward = replace(CHANNELS, form="explicit")
    scored = judged(reward, ragged(), "ab", "bcd", rule=failing("b"))
    parts = asdict(scored.remarks[0, 0])["criteria"]
    assert [part["answer"] for part in parts] == ["met", "failed: timeout", "not met"]


def test_rubric_without_a_judge_is_refused() -> None:
    with pytest.raises(RewardError, match="'rubric' needs a judge"):
        RewardSuite([CHANNELS]).fitted(ragged())(rollout(ragged(), "a", "b"))


@pytest.mark.parametrize(
    ("rubric", "message"),
    [
        ("a", "column 'rubric' holds a str; criteria are a list"),
        ([{"text": ""}], "a criterion needs a text"),
        ([{"txt": "a"}], "a criterion needs a text, {'txt': 'a'} has none"),
        ([{"text": "a", "polarity": "bad"}], "polarity must be positive or negative"),
        ([7], "7 is no text and no table with one"),
        ([{"text": 5}], "a criterion needs a text"),
        ([{"text": "a", "points": float("inf")}], "points must be at least 0 and finite"),
        ([{"text": "a", "axis": 3}], "axis must be a text, got 3"),
    ],
)
def test_what_are_no_criteria_is_named(rubric: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RewardSuite([CHANNELS]).fitted([make_prompt("p/7", rubric=rubric)])


def test_null_in_a_criterion_is_what_its_row_leaves_out() -> None:
    rows = [{"text": "a", "polarity": None, "axis": None, "label": None, "points": None}]
    assert CHANNELS.criteria(make_prompt(rubric=rows)) == (Criterion(text="a"),)


@pytest.mark.parametrize("criterion", ["", "  ", {"text": "\n"}])
def test_blank_criterion_of_the_settings_is_one_sentence(criterion: Any) -> None:
    settings = {"rubric": "channels", "criteria": {"first": criterion}}
    with pytest.raises(ValidationError, match="must be a sentence that is true or false"):
        RubricRewardConfig.model_validate(settings)


def test_missing_column_of_criteria_is_named() -> None:
    with pytest.raises(DataError, match=r"column 'rubric', the data have rubrik; did you mean"):
        RewardSuite([CHANNELS]).fitted([make_prompt(rubrik=make_criteria("a"))])


def test_prompt_without_criteria_has_no_scores() -> None:
    prompts = [*ragged(), make_prompt("p/2", rubric=None)]
    scored = judged(CHANNELS, prompts, "ab", "bcd")
    assert not scored.rewards.valid[4:].any()
    assert not scored.failures


def test_weight_may_change_over_training() -> None:
    suite = RewardSuite([Reward("length", length, Ramp(start=0.0, end=2.0))])
    both = rollout([make_prompt()], "a", "ab")
    weights = [suite.begin(p).collect(both).rewards.weights[0, 0].item() for p in (0.0, 0.5, 1.0)]
    assert weights == [0, 1, 2]


def cells(*scores: float | Failed | None) -> list[Cell]:
    return [Cell(score) for score in scores]


def test_condition_makes_a_score_0_below_its_threshold() -> None:
    lost, other = Failed("timeout"), Failed("http 500")
    scores = conditioned(
        cells(5.0, 5.0, None, lost, lost, 5.0, 5.0), cells(1.0, 0.5, 0.0, 0.0, 1.0, other, None), 1
    )
    assert [cell.score for cell in scores] == [5.0, 0.0, None, 0.0, lost, other, None]


def test_conditioned_reward_enters_the_matrix_after_its_condition() -> None:
    short = Reward("short", length, condition=Condition("good", 1.0))
    good = Reward("good", lambda completions, **columns: [1.0, 0.0])
    scored = RewardSuite([short, good])(rollout([make_prompt()], "ab", "abc"))
    assert scored.rewards.values.tolist() == [[2, 1], [0, 0]]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_budget_never_keeps_a_group_beyond_it(lost: list[tuple[int, int]], share: float) -> None:
    failed = [count for pair in lost for count in pair]
    rewards = Rewards(torch.ones(len(failed), 1), ["r"], group_size=2)
    kept = keep_within(
        BudgetConfig(group=share, step=1),
        with_columns(rewards),
        asked=[4] * len(failed),
        failed=failed,
        failures=Counter(),
        details={},
    )
    for group, (a, b) in enumerate(lost):
        assert bool(kept.rewards.valid[2 * group].all()) == (a + b <= share * 8 + 1e-6)


def test_budget_is_kept_at_its_very_edge() -> None:
    rewards = Rewards(torch.ones(2, 1), ["r"], group_size=2)
    for lost, kept in ((29, True), (30, False)):
        result = keep_within(
            BudgetConfig(group=0.29, step=1),
            with_columns(rewards),
            asked=[50, 50],
            failed=[lost, 0],
            failures=Counter(),
            details={},
        )
        assert bool(result.rewards.valid.all()) == kept


def test_judged_gate_of_weight_0_counts_for_the_budget() -> None:
    gate = RubricReward(name="safe", form="explicit", weight=0.0)
    gated = Reward("length", length, condition=Condition("safe", 1.0))
    with pytest.raises(RewardError, match="8 of the 8 verdicts"):
        judged(
            [gate, gated],
            ragged(),
            "ab",
            "bcd",
            rule=failing("a", "b", "c", "d"),
            budget=BudgetConfig(),
        )


def test_weighted_mean_that_lacks_a_verdict_loses_all_of_them() -> None:
    reward = replace(CHANNELS, form="explicit")
    with pytest.raises(RewardError, match=r"6 of the 8 verdicts .* \(2 timeout\)"):
        judged(reward, ragged(), "ab", "bcd", rule=failing("a"), budget=BudgetConfig(step=0.5))


def test_verdicts_of_not_met_are_no_failures() -> None:
    prompts = [make_prompt(rubric=make_criteria(*"abcdefgh"))]
    judge = FakeJudge(lambda response, question: Answer(value=0.0))
    suite = RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(judge, BudgetConfig(step=0)))
    scored = suite(rollout(prompts, *map(str, range(20))))
    assert judge.cancelled == 0
    assert scored.rewards.valid.all()


def test_few_failures_do_not_end_a_step_early() -> None:
    prompts = [make_prompt(rubric=make_criteria(*"abcdefgh"))]
    judge = FakeJudge(failing("a"))
    budget = BudgetConfig(step=0.05, group=1)
    suite = RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(judge, budget))
    with pytest.raises(RewardError, match="20 of the 160"):
        suite(rollout(prompts, *map(str, range(20))))
    assert judge.cancelled == 0  # all had answered, so the sentence has the true count


def test_a_long_wait_says_for_how_much() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    futures[1].set_result(1)
    said: list[str] = []

    def notice(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            futures[0].set_result(0)
            futures[2].cancel()

    assert len(list(as_done(futures, notice, patience_s=0.02))) == 3
    assert said == ["waiting for the judge: answers about 2 of 3 samples are missing"] * 2


def test_early_end_reckons_with_the_verdicts_of_all_ranks() -> None:
    prompts = [make_prompt(rubric=make_criteria(*"abcdefgh"))]
    samples = rollout(prompts, *map(str, range(40))).samples
    for step_needed, ended in ((320, True), (3200, False)):
        judge = FakeJudge(failing("a"))
        judging = Judging([CHANNELS], frozenset({"rubric"}), judge, BudgetConfig(step=0.1))
        judging.finish(samples, step_needed)
        assert bool(judge.cancelled) == ended


def test_criteria_of_no_points_count_equally() -> None:
    prompts = [make_prompt(rubric=make_criteria("a", "b", points=0.0))]
    weights = judged(replace(CHANNELS, weighing="points"), prompts, "a", "b").rewards.weights
    assert weights.tolist() == [[0.5, 0.5]] * 2


def test_condition_holds_for_every_criterion() -> None:
    channels = replace(CHANNELS, condition=Condition("good", 1.0))
    good = Reward("good", lambda completions, **columns: [0.0, 1.0])
    prompts = [make_prompt(rubric=make_criteria("a", "b"))]
    scored = judged([channels, good], prompts, "ab", "ab")
    assert scored.rewards.values[:, :2].tolist() == [[0, 0], [1, 1]]


def test_explicit_weighs_by_class_and_channels_equally_unless_told() -> None:
    def weighing(form: str) -> str:
        config = RubricRewardConfig.model_validate({"rubric": form})
        (reward,) = RewardSuite.from_config({"r": config}).rewards
        assert isinstance(reward, RubricReward)
        return reward.weighing

    assert [weighing(form) for form in ("channels", "explicit")] == ["uniform", "class"]


def test_rows_of_a_later_rank_keep_their_weights_and_failures_and_every_rank_its_remarks() -> None:
    mine = judged(CHANNELS, ragged(), "ab", "bcd", rule=failing("b"))
    theirs = judged(replace(CHANNELS, weight=3.0), ragged(), "bcd", "ab", rule=failing("a"))

    class Gathered(Ranks):
        def gather_objects(self, value: Any) -> list[Any]:
            assert not value.remarks  # the largest part, which nobody reads of others
            return [mine, theirs]

    cpu = torch.device("cpu")
    both = Gathered(rank=0, size=2, device=cpu).gather(mine)
    assert torch.equal(
        both.rewards.weights, torch.cat([mine.rewards.weights, theirs.rewards.weights])
    )
    assert both.failures == mine.failures | {(r + 4, c): x for (r, c), x in theirs.failures.items()}
    assert both.remarks == mine.remarks
    later = Gathered(rank=1, size=2, device=cpu).gather(theirs)
    assert later.remarks == {(r + 4, c): x for (r, c), x in theirs.remarks.items()}
    assert both.rewards.prompts == ("p/0", "p/1", "p/0", "p/1")
    assert torch.equal(
        both.aspects["rubric/pitfall"],
        torch.cat([mine.aspects["rubric/pitfall"], theirs.aspects["rubric/pitfall"]]),
    )


def test_budget_counts_the_verdicts_of_all_ranks() -> None:
    """This rank lost a quarter of its verdicts, which is an eighth of the step's."""
    prompts = ragged()

    class Gathered(Ranks):
        def gather_objects(self, value: Any) -> list[Any]:
            match value:
                case ({"judge": Verdicts() as verdicts}, *others):
                    whole = replace(verdicts, failed=[0] * 4, failures=Counter())
                    return [value, ({"judge": whole}, *others)]
                case _:
                    return [value, value]

    ranks = Gathered(rank=0, size=2, device=torch.device("cpu"))
    for step, message in ((0.1, "2 of the 16 verdicts"), (0.13, None)):
        budget = BudgetConfig(group=1, step=step)
        suite = (
            RewardSuite([CHANNELS]).fitted(prompts).judged_by(only(FakeJudge(failing("a")), budget))
        )
        scoring = suite.begin()
        if message is None:
            assert len(scoring.collect(rollout(prompts, "ab", "bcd"), ranks).rewards.values) == 8
        else:
            with pytest.raises(RewardError, match=message):
                scoring.collect(rollout(prompts, "ab", "bcd"), ranks)
