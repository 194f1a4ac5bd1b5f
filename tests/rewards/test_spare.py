"""Settled criteria are asked of a few samples, without bias, until one of the few differs."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rvpo import GDPO, GRPO, RVPO
from rvpo.config.judge import BudgetConfig
from rvpo.config.rewards import RewardConfig
from rvpo.config.spare import SpareConfig
from rvpo.criterion import Criterion
from rvpo.data.order import PromptStream
from rvpo.errors import RewardError
from rvpo.judge.types import Answer, Question
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.spare import Sparing, Streak, VerdictCounts, key_of
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.stream import Sampler
from rvpo.types import Rollout, RolloutScores
from tests.configs import tiny_config
from tests.fakes import FakeEngine, FakeJudge, make_prompt, make_sample, on_each_rank, only
from tests.trainer.test_checkpoint import Plain

Rule = Callable[[str, Question], Answer]
CARE = RubricReward(
    name="care",
    form="channels",
    fixed={"kind": Criterion(text="kind"), "brief": Criterion(text="brief")},
    spare=SpareConfig(after=2, ask=2),
)
GROUP = 6
STRICT = BudgetConfig(group=0, step=0)


def rollout(step: int, prompts: int = 2, group: int = GROUP) -> Rollout:
    """Every text is its own: "step.prompt.place"."""
    samples = tuple(
        make_sample(make_prompt(f"p/{p}"), f"{step}.{p}.{g}")
        for p in range(prompts)
        for g in range(group)
    )
    return Rollout(samples=samples, group_size=group)


def places(response: str) -> tuple[int, int, int]:
    step, prompt, place = map(int, response.split("."))
    return step, prompt, place


def usual(response: str, question: Question) -> Answer:
    """All are kind; every second one is brief."""
    met = question.text == "kind" or places(response)[2] % 2 == 0
    return Answer(value=float(met), reason="so")


class Run:
    """A run of a suite, step by step."""

    def __init__(
        self, rule: Rule = usual, reward: RubricReward = CARE, seed: int = 7, lag: int = 0
    ) -> None:
        self.judge = FakeJudge(rule)
        suite = RewardSuite([reward]).judged_by(only(self.judge, STRICT))
        self.suite = suite.remembering(seed, lag)

    def step(self, number: int, prompts: int = 2) -> RolloutScores:
        self.judge.jobs.clear()
        scoring = self.suite.begin(group_size=GROUP, step=number)
        return scoring.collect(rollout(number, prompts))

    def asked(self) -> dict[str, list[tuple[int, int, int]]]:
        """Samples that each criterion was asked of in the last step."""
        found: dict[str, list[tuple[int, int, int]]] = {"kind": [], "brief": []}
        for job in self.judge.jobs:
            for question in job.questions:
                found[question.text].append(places(job.response))
        return found


def test_a_settled_criterion_is_asked_of_a_few_samples_of_each_group() -> None:
    run = Run()
    for number in range(2):
        run.step(number)
        assert {text: len(each) for text, each in run.asked().items()} == {"kind": 12, "brief": 12}
    run.step(2)
    asked = run.asked()
    assert len(asked["brief"]) == 12
    assert Counter(prompt for _, prompt, _ in asked["kind"]) == {0: 2, 1: 2}


def test_a_criterion_that_none_meets_is_settled_too() -> None:
    run = Run(lambda r, q: Answer(value=float(q.text != "kind")))
    for number in range(3):
        found = run.step(number)
    assert {text: len(each) for text, each in run.asked().items()} == {"kind": 4, "brief": 4}
    assert found.remarks[_unasked(found)[0]].reason == (
        "no sample met it in the last 2 steps, and others of the group were asked"
    )


def _unasked(found: RolloutScores) -> list[tuple[int, int]]:
    return [place for place in found.spared if not found.rewards.valid[place]]


def test_what_is_not_asked_is_missing_and_said_so_and_is_no_failure() -> None:
    run = Run()
    for number in range(3):
        found = run.step(number)  # whose budget allows no failure at all
    unasked = _unasked(found)
    assert len(unasked) == 8
    assert {column for _, column in unasked} == {0}
    assert not found.failures
    remark = found.remarks[unasked[0]]
    assert remark.question == "kind"
    assert remark.answer == "not asked"
    assert "every sample met it in the last 2 steps" in remark.reason
    metrics = reward_metrics(found)
    assert metrics["rewards/care/kind/spared_frac"] == pytest.approx(8 / 12)
    assert metrics["rewards/care/kind/missing_frac"] == pytest.approx(8 / 12)
    assert metrics["rewards/care/kind/failed_frac"] == 0
    assert metrics["rewards/care/brief/spared_frac"] == 0
    assert found.metrics["judge/care/verdicts"] == 16


def test_a_lost_verdict_that_trains_nothing_costs_no_group_and_no_step() -> None:
    """Two of eight verdicts of each group would be more than this budget allows."""
    lost = Answer(value=None, failure="timeout")
    rule: Rule = lambda r, q: (  # noqa: E731
        lost if places(r)[0] == 2 and q.text == "kind" else usual(r, q)
    )
    run = Run(rule)
    for number in range(3):
        found = run.step(number)
    assert len(run.asked()["kind"]) == 4
    assert found.metrics["judge/skipped_groups"] == 0
    brief = found.rewards.names.index("care/brief")
    assert found.rewards.valid[:, brief].all()
    assert {column for _, column in found.failures} == {1 - brief}


def test_a_lost_verdict_that_another_reward_trains_on_still_counts() -> None:
    lost = Answer(value=None, failure="timeout")
    rule: Rule = lambda r, q: lost if places(r)[0] == 2 else Answer(value=1.0)  # noqa: E731
    twin = replace(CARE, name="twin", spare=None)
    judges = only(FakeJudge(rule), STRICT)
    suite = RewardSuite([CARE, twin]).judged_by(judges).remembering(7, 0)
    for number in range(2):
        suite.begin(group_size=GROUP, step=number).collect(rollout(number))
    with pytest.raises(RewardError, match="24 of the 24 verdicts of this step are missing"):
        suite.begin(group_size=GROUP, step=2).collect(rollout(2))


def test_all_are_asked_again_after_the_step_in_which_one_of_the_few_differs() -> None:
    """Not in that step: asking on only where the few differ would bias the mean."""
    differs = {3: 1}  # step: prompt whose samples are not kind

    def rule(response: str, question: Question) -> Answer:
        step, prompt, _ = places(response)
        if question.text == "kind" and differs.get(step) == prompt:
            return Answer(value=0.0)
        return usual(response, question)

    run = Run(rule)
    asked = []
    for number in range(8):
        run.step(number)
        asked.append(len(run.asked()["kind"]))
    assert asked == [12, 12, 4, 4, 12, 12, 4, 4]


def test_a_failed_verdict_settles_nothing_and_opens_nothing() -> None:
    lost = Answer(value=None, failure="timeout")
    rule: Rule = lambda r, q: lost if places(r)[0] == 1 else usual(r, q)  # noqa: E731
    run = Run(rule)
    run.suite = replace(run.suite, judges=only(run.judge, BudgetConfig(group=1, step=1)))
    asked = []
    for number in range(4):
        run.step(number)
        asked.append(len(run.asked()["kind"]))
    assert asked == [12, 12, 12, 4]


def test_the_few_are_the_same_for_all_criteria_and_others_in_every_step_and_group() -> None:
    run = Run(lambda r, q: Answer(value=1.0))
    chosen = []
    for number in range(12):
        run.step(number)
        asked = run.asked()
        assert sorted(asked["kind"]) == sorted(asked["brief"])
        chosen.append(frozenset((p, g) for _, p, g in asked["kind"]))
    assert len(set(chosen[2:])) > 5


def test_the_choice_does_not_look_at_the_answers() -> None:
    runs = [Run(lambda r, q, p=p: Answer(value=float(places(r)[0] < p))) for p in (2, 99)]
    for number in range(3):
        for run in runs:
            run.step(number)
    assert sorted(runs[0].asked()["kind"]) == sorted(runs[1].asked()["kind"])


def test_the_mean_over_the_few_is_unbiased() -> None:
    """A plain simulation: verdicts drawn beforehand, so that the mean over everybody is known."""
    chance = random.Random(0)
    config = {"care": SpareConfig(after=1, ask=2)}
    memory = Sparing(config, seed=3)
    question = Question("criterion", "kind")
    errors = []
    for step in range(2500):
        truth = [float(chance.random() < 0.93) for _ in range(GROUP)]
        choice = memory.at(step)
        streak = choice.settled("care", [question]).get(question)
        few = [
            g for g in range(GROUP) if streak is None or choice.is_asked("care", "p/0", g, GROUP)
        ]
        if streak is not None:
            assert len(few) == 2
            errors.append(fmean(truth[g] for g in few) - fmean(truth))
        answers = [Answer(value=truth[g]) for g in few]
        choice.conclude({key_of("care", question): VerdictCounts.of(answers)})
    assert len(errors) > 500
    assert abs(fmean(errors)) < 3 * stdev(errors) / len(errors) ** 0.5
    # Asking everybody as soon as the few differ would lean towards what was settled.
    assert stdev(errors) > 0.05


def test_every_place_is_asked_equally_often() -> None:
    memory = Sparing({"care": SpareConfig(after=1, ask=2)}, seed=1)
    counts = Counter(
        g
        for step in range(900)
        for g in range(GROUP)
        if memory.at(step).is_asked("care", "p/0", g, GROUP)
    )
    expected = 900 * 2 / GROUP
    assert sum((counts[g] - expected) ** 2 / expected for g in range(GROUP)) < 20.5  # p = .001


def test_curves_of_a_spared_run_are_unbiased() -> None:
    """Means over a step's samples, against those of the same run that asks everything."""
    truth: dict[tuple[str, str], float] = {}
    chance = random.Random(5)

    def rule(response: str, question: Question) -> Answer:
        met = truth.setdefault((response, question.text), float(chance.random() < 0.9))
        return Answer(value=met if question.text == "kind" else usual(response, question).value)

    spare, full = Run(rule), Run(rule, replace(CARE, spare=None))
    spare.suite = RewardSuite([replace(CARE, spare=SpareConfig(after=1, ask=2))])
    spare.suite = spare.suite.judged_by(only(spare.judge, STRICT)).remembering(1, 0)
    names = ("rewards/care/mean", "rewards/care/kind/mean", "reward")
    off: dict[str, list[float]] = {name: [] for name in names}
    for number in range(60):
        all_of_it = reward_metrics(full.step(number, prompts=1))
        few = reward_metrics(spare.step(number, prompts=1))
        if len(spare.asked()["kind"]) == 2:
            for name in names:
                off[name].append(few[name] - all_of_it[name])
    for errors in off.values():
        assert len(errors) > 15
        assert abs(fmean(errors)) < 4 * max(stdev(errors), 1e-9) / len(errors) ** 0.5 + 1e-6


def test_a_sample_that_was_not_asked_is_not_called_satisfied() -> None:
    run = Run(lambda r, q: Answer(value=float(q.text == "brief")))
    before = [reward_metrics(run.step(number)) for number in range(2)]
    after = reward_metrics(run.step(2))
    for metrics in (*before, after):
        assert metrics["rewards_joint/satisfied_all_frac"] == 0
        assert metrics["rewards_joint/worst_mean"] == 0
        assert metrics["reward"] == 0.5
        assert metrics["rewards/care/mean"] == 0.5


@pytest.mark.parametrize(
    "estimator",
    [
        GRPO(),
        GRPO(missing="zero"),
        GRPO(missing="skip_sample"),
        GDPO(),
        RVPO(k=1.0),
        RVPO(k=1.0, missing="zero"),
    ],
)
def test_a_spared_criterion_trains_nothing_in_its_group(estimator: Any) -> None:
    """Not even where the few differ: they alone would be compared."""

    def rule(response: str, question: Question) -> Answer:
        step, _, place = places(response)
        return usual(response, question) if step < 2 else Answer(value=float(place % 2))

    run = Run(rule, replace(CARE, fixed={**CARE.fixed, "odd": Criterion(text="odd")}))
    for number in range(3):
        found = run.step(number).rewards
    column = found.names.index("care/kind")
    rest = [c for c in range(3) if c != column]
    without = replace(
        found,
        values=found.values[:, rest],
        valid=found.valid[:, rest],
        weights=found.weights[:, rest],
        names=[found.names[c] for c in rest],
        satisfied=[found.satisfied[c] for c in rest],
    )
    assert not found.valid[:, column].all()
    advantages = estimator(found)
    assert torch.equal(advantages.values, estimator(without).values)
    assert advantages.trained.all()


def test_a_criterion_that_another_reward_asks_for_is_known() -> None:
    twin = replace(CARE, name="twin", spare=None)
    judge = FakeJudge(lambda r, q: Answer(value=1.0))
    suite = RewardSuite([CARE, twin]).judged_by(only(judge, STRICT)).remembering(7, 0)
    for number in range(4):
        found = suite.begin(group_size=GROUP, step=number).collect(rollout(number))
    assert found.rewards.valid.all()
    assert not [r for r in found.remarks.values() if r.answer == "not asked"]


def test_held_out_prompts_are_asked_about_everything() -> None:
    run = Run()
    for number in range(3):
        run.step(number)
    run.judge.jobs.clear()
    found = run.suite.begin().collect(rollout(9))
    assert len(run.asked()["kind"]) == 12
    assert found.rewards.valid.all()
    run.step(3)
    assert len(run.asked()["kind"]) == 4  # and leave the memory as it was


def test_a_criterion_is_settled_by_the_samples_of_all_ranks() -> None:
    def rule(rank: int) -> Rule:
        return lambda r, q: Answer(value=float(q.text == "kind" or rank))

    runs = [Run(rule(rank)) for rank in range(2)]

    def steps(ranks: Any) -> dict[str, int]:
        run = runs[ranks.rank]
        for number in range(3):
            run.judge.jobs.clear()
            scoring = run.suite.begin(group_size=GROUP, step=number)
            scoring.collect(rollout(number), ranks)
        return {text: len(each) for text, each in run.asked().items()}

    assert on_each_rank(steps) == [{"kind": 4, "brief": 12}] * 2


def plain_streaks(after: int, history: Sequence[Mapping[str, VerdictCounts]]) -> set[str]:
    """Settled keys by the definition: the last `after` steps that tell of a key agree."""
    settled = set()
    for key in {key for outcomes in history for key in outcomes}:
        told = [outcomes[key] for outcomes in history if key in outcomes]
        told = [o for o in told if o.met + o.unmet + o.between][-after:]
        all_met = all(o.met and not o.unmet and not o.between for o in told)
        none_met = all(o.unmet and not o.met and not o.between for o in told)
        if len(told) == after and (all_met or none_met):
            settled.add(key)
    return settled


outcomes_of_a_step = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.sampled_from([*[VerdictCounts(3)] * 2, VerdictCounts(0, 3), VerdictCounts(2, 1),
                     VerdictCounts(0, 0, 1), VerdictCounts()]),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(outcomes_of_a_step, max_size=12), st.integers(1, 3), st.integers(0, 3))
def test_streaks_are_those_of_the_definition_whatever_the_lag(
    history: list[dict[str, VerdictCounts]], after: int, lag: int
) -> None:
    memory = Sparing({"care": SpareConfig(after=after)}, 0, lag)
    for step, outcomes in enumerate(history):
        for later in range(step, step + lag + 1):  # rollouts that are made before this one is done
            known = history[: max(0, later - lag)]
            assert set(memory.at(later).streaks) == plain_streaks(after, known)
        memory.conclude(step, outcomes)


@settings(deadline=None)
@given(st.lists(outcomes_of_a_step, min_size=1, max_size=9), st.integers(0, 8), st.integers(0, 3))
def test_a_run_that_was_interrupted_makes_the_choices_of_one_that_was_not(
    history: list[dict[str, VerdictCounts]], cut: int, lag: int
) -> None:
    def choices(cut: int | None) -> list[Mapping[str, Streak]]:
        memory, found = Sparing({"care": SpareConfig(after=2)}, 0, lag), []
        for step, outcomes in enumerate(history):
            if step == cut:
                kept = json.loads(json.dumps(memory.state()))
                memory = Sparing({"care": SpareConfig(after=2)}, 0, lag)
                memory.restore(kept)
            found.append(memory.at(step).streaks)
            memory.conclude(step, outcomes)
        return found

    assert choices(cut) == choices(None)


def test_grades_in_between_are_not_settled() -> None:
    assert VerdictCounts.of([Answer(value=0.5)] * 3).common is None
    assert VerdictCounts.of([Answer(value=1.0), Answer(value=None, failure="x")]).common == 1
    assert VerdictCounts.of([Answer(value=0.0)]).common == 0
    assert not VerdictCounts.of([Answer(value=None, failure="x")]).is_known


def test_a_suite_that_spares_nothing_has_no_memory() -> None:
    suite = RewardSuite([replace(CARE, spare=None), Reward("good", lambda **_: [])])
    assert suite.remembering(0, 0).sparing is None


@pytest.mark.parametrize("form", ["explicit", "implicit"])
def test_only_channels_can_spare(form: str) -> None:
    with pytest.raises(ValidationError, match="needs every criterion of its prompt"):
        TypeAdapter[Any](RewardConfig).validate_python({"rubric": form, "spare": {}})


def test_settings_are_checked_and_come_with_defaults() -> None:
    adapter = TypeAdapter[Any](RewardConfig)
    assert adapter.validate_python({"rubric": "channels"}).spare is None
    assert adapter.validate_python({"rubric": "channels", "spare": {}}).spare == SpareConfig(
        after=20, ask=2
    )
    for wrong in ({"after": 0}, {"ask": 0}, {"often": 1}, 3):
        with pytest.raises(ValidationError):
            adapter.validate_python({"rubric": "channels", "spare": wrong})


def test_a_checkpoint_keeps_what_is_settled(tmp_path: Path, ranks: Ranks) -> None:
    before, after = (Sparing({"care": SpareConfig(after=2)}, 0, lag=1) for _ in range(2))
    for step in range(4):
        before.conclude(step, {"a": VerdictCounts(3), "b": VerdictCounts(2, 1 if step == 2 else 0)})
    policy: Any = Plain()
    Checkpoints(tmp_path, every=1, keep=1, ranks=ranks, carried=[before]).after(
        4, policy, last=False
    )
    kept = Checkpoints(tmp_path, every=1, keep=1, ranks=ranks, carried=[after])
    assert kept.restore(policy) == 4
    assert after.state() == before.state()
    for step in (4, 5):
        assert after.at(step).streaks == before.at(step).streaks
    assert set(after.at(5).streaks) == {"a"}


def test_few_that_are_all_are_refused() -> None:
    care = {"rubric": "channels", "criteria": {"kind": "Is kind."}, "spare": {"ask": 4}}
    sections = {"rewards": {"care": care}, "judge": {"serve": "judge"}}
    with pytest.raises(ValidationError, match=r"rewards.care.spare.ask: 4 of a group's 4 samples"):
        tiny_config(Path("unused"), **sections)
    tiny_config(Path("unused"), rollout={"samples_per_prompt": 5}, **sections)


def test_a_rollout_compares_and_spares_beside_its_generation(ranks: Ranks) -> None:
    """As a run asks: by the step, and by groups that are complete before the rollout is."""
    judge = FakeJudge(lambda r, q: Answer(value=1.0))
    better = ComparisonReward(name="better", question="Which?")
    suite = RewardSuite([CARE, better]).judged_by(only(judge)).remembering(7, 0)
    names = iter(range(10_000))
    sampler = Sampler(
        prompts=PromptStream([make_prompt(f"p/{p}") for p in range(2)], 2, 0),
        engine=FakeEngine(lambda prompt: f"0.0.{next(names)}"),
        score=suite,
        ranks=ranks,
        group_size=GROUP,
        seed=0,
        steps=range(4),
    )
    for step in range(3):
        judge.jobs.clear()
        rollout, scoring = sampler.sample(step)
        kinds = Counter(q.kind for job in judge.jobs for q in job.questions)
        assert kinds["comparison"] == 2 * GROUP * (GROUP - 1)
        assert kinds["criterion"] == 2 * 2 * (GROUP if step < 2 else 2)
        scoring.collect(rollout, ranks)
