"""Groups in which no reward tells samples apart give up their places, and no others do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo import RVPO
from rvpo.config.judge import BudgetConfig
from rvpo.criterion import Criterion
from rvpo.data.difficulty import ByDifficulty
from rvpo.data.order import PromptOrder, PromptStream
from rvpo.judge.types import Answer, Question
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine_in_turn import EngineInTurn
from rvpo.rollout.further import Further
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.rows import picked, stacked
from rvpo.runtime.turns import Turns
from rvpo.sampling import Sampling
from rvpo.trainer.refill import Refill
from rvpo.trainer.stream import Ahead, Sampler
from rvpo.trainer.telling import telling
from rvpo.types import Prompt, Remark, Rewards, Rollout, RolloutScores, Sample
from tests.configs import tiny_config
from tests.fakes import (
    FakeJudge,
    make_prompt,
    make_sample,
    make_scores,
    on_each_rank,
    only,
    with_columns,
)

GROUP = 2
ALONE = Ranks(rank=0, size=1, device=torch.device("cpu"))


@dataclass
class Engine:
    """Gives the samples of live prompts different texts, and those of others the same one."""

    live: Callable[[str], bool]
    asked: list[list[str]] = field(default_factory=list)

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: Callable[[int, Sample], None] = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        self.asked.append([prompt.id for prompt in prompts])
        samples = [
            make_sample(prompt, f"{prompt.id}.{place if self.live(prompt.id) else 0}")
            for prompt in prompts
            for place in range(samples_per_prompt)
        ]
        for row, sample in enumerate(samples):
            on_sample(row, sample)
        return Rollout(samples=tuple(samples), group_size=samples_per_prompt)

    def load_weights(self, weights: object, version: int) -> None:
        pass

    def close(self) -> None:
        pass


def place(completions: Sequence[Sequence[dict[str, str]]], **_: object) -> list[float]:
    return [float(completion[0]["content"].split(".")[1]) for completion in completions]


def flat(completions: Sequence[object], **_: object) -> list[float]:
    return [1.0] * len(completions)


SUITE = RewardSuite([Reward("place", place), Reward("flat", flat)])


def run(
    live: Callable[[str], bool],
    *,
    prompts: int = 40,
    per_step: int = 4,
    sampled: int = 4,
    rounds: int = 0,
    ranks: Ranks = ALONE,
    suite: RewardSuite = SUITE,
    order: Callable[[PromptStream], PromptOrder] = lambda stream: stream,
) -> tuple[Engine, Rollout, RolloutScores]:
    """One step, and what is trained on in it."""
    stream = PromptStream([make_prompt(str(n)) for n in range(prompts)], sampled, 3)
    engine = Engine(live)
    sampler = Sampler(
        prompts=order(stream),
        engine=engine,
        score=suite,
        ranks=ranks,
        group_size=GROUP,
        seed=3,
        steps=range(2),
    )
    rollout, scored = Refill(sampler, per_step, rounds)(0, *sampler.sample(0))
    return engine, rollout, scored


def ids(rollout: Rollout) -> list[str]:
    return [sample.prompt.id for sample in rollout.samples[::GROUP]]


def test_without_rounds_a_rollout_is_trained_on_as_it_is() -> None:
    engine, rollout, scored = run(lambda id: False)
    assert engine.asked == [ids(rollout)]
    assert scored.rewards.prompts == tuple(ids(rollout))
    assert scored.metrics == {}


@given(st.sets(st.integers(0, 39)), st.integers(0, 3))
def test_live_groups_stay_and_others_take_the_places_of_dead_ones(
    dead: Collection[int], rounds: int
) -> None:
    engine, rollout, scored = run(lambda id: int(id) not in dead, rounds=rounds)
    first, trained = engine.asked[0], ids(rollout)
    live = [id for id in first if int(id) not in dead]
    assert [id for id in trained if id in first and int(id) not in dead] == live
    generated = [id for asked in engine.asked for id in asked]
    alive = [id for id in generated if int(id) not in dead]
    assert len(trained) == 4
    assert set(alive[:4]) <= set(trained)
    assert len(engine.asked) <= 1 + rounds
    if len(alive) < 4:  # nothing was left untried
        assert len(engine.asked) == 1 + rounds
    assert scored.rewards.prompts == tuple(trained)
    assert scored.rewards.values[:, 0].tolist() == place(
        [[{"content": sample.text}] for sample in rollout.samples]
    )


def test_groups_are_counted_with_those_that_are_not_trained_on() -> None:
    engine, rollout, scored = run(lambda id: int(id) % 2 == 0, rounds=1)
    generated = [id for asked in engine.asked for id in asked]
    dead = sum(int(id) % 2 for id in generated)
    assert scored.metrics == {
        "groups/generated": len(generated),
        "groups/dead_frac": dead / len(generated),
        "groups/resampled": len(generated) - 4,
        "groups/generated_tokens": sum(GROUP * len(f"{id}.0") for id in generated),
    }
    assert len(rollout.samples) == 4 * GROUP


def test_of_more_prompts_the_live_ones_are_trained_on_in_their_order() -> None:
    engine, rollout, _ = run(lambda id: int(id) % 3 > 0, sampled=9)
    (asked,) = engine.asked
    assert ids(rollout) == [id for id in asked if int(id) % 3][:4]


def test_of_more_prompts_those_that_lost_their_scores_give_way_to_live_ones() -> None:
    judged = RubricReward(name="care", form="channels", fixed={"kind": Criterion(text="kind")})

    def rule(response: str, question: Question) -> Answer:
        id, place = response.split(".")
        is_lost = int(id) % 3 == 0
        return Answer(value=None, failure="timeout") if is_lost else Answer(value=float(place))

    suite = RewardSuite([judged]).judged_by(only(FakeJudge(rule), BudgetConfig(group=1, step=1)))
    engine, rollout, _ = run(lambda id: True, sampled=9, suite=suite)
    (asked,) = engine.asked
    assert ids(rollout) == [id for id in asked if int(id) % 3][:4]


def test_where_too_few_are_live_dead_ones_stay_behind() -> None:
    engine, rollout, _ = run(lambda id: False, sampled=6)
    assert ids(rollout) == engine.asked[0][:4]


def test_every_rank_replaces_its_own_and_all_know_the_same() -> None:
    """One rank lacks nothing and takes part with no prompt."""
    order = PromptStream([make_prompt(str(n)) for n in range(40)], 4, 3).at(0)
    dead = {order[2].id, order[3].id}
    found = on_each_rank(lambda ranks: run(lambda id: id not in dead, rounds=2, ranks=ranks))
    (one, mine, scored), (other, theirs, same) = found  # type: ignore[misc]
    assert [len(asked) for asked in one.asked] == [2, 0]
    assert [len(asked) for asked in other.asked] == [2, 2]
    assert scored.rewards.prompts == same.rewards.prompts == tuple(ids(mine) + ids(theirs))
    assert not dead & set(ids(theirs))
    assert torch.equal(scored.rewards.values, same.rewards.values)
    assert scored.metrics == same.metrics


def test_what_functions_log_comes_with_the_samples_that_are_trained_on() -> None:
    def noting(
        completions: Sequence[Sequence[dict[str, str]]],
        log_extra: Callable[[str, list[str]], None],
        log_metric: Callable[[str, float], None],
        **_: object,
    ) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        log_extra("text", texts)
        log_metric("called", float(len(texts)))
        return place(completions)

    suite = RewardSuite([Reward("noting", noting)])
    engine, rollout, scored = run(lambda id: int(id) % 2 == 0, rounds=2, suite=suite)
    assert len(engine.asked) > 1
    assert scored.extras == {"noting": {"text": [sample.text for sample in rollout.samples]}}
    calls = [GROUP * len(asked) for asked in engine.asked]
    assert scored.metrics["called"] == sum(calls) / len(calls)


def test_the_answers_of_all_rounds_are_counted() -> None:
    def rule(response: str, question: object) -> Answer:
        return Answer(value=float(response.split(".")[1]))

    judged = RubricReward(name="care", form="channels", fixed={"kind": Criterion(text="kind")})
    judge = FakeJudge(rule)
    suite = RewardSuite([judged]).judged_by(only(judge))
    engine, _, scored = run(lambda id: int(id) % 2 == 0, rounds=2, suite=suite)
    generated = sum(map(len, engine.asked))
    assert generated > 4
    assert len(judge.jobs) == scored.metrics["judge/verdicts"] == GROUP * generated
    assert scored.metrics["judge/care/verdicts"] == GROUP * generated
    assert scored.metrics["judge/skipped_groups"] == 0


def test_a_group_whose_scores_are_lost_is_not_dead() -> None:
    """A judge that is down would else have everything sampled again."""
    judged = RubricReward(name="care", form="channels", fixed={"kind": Criterion(text="kind")})
    judge = FakeJudge(lambda response, question: Answer(value=None, failure="timeout"))
    suite = RewardSuite([judged]).judged_by(only(judge, BudgetConfig(group=1, step=1)))
    engine, rollout, _ = run(lambda id: True, rounds=3, suite=suite)
    assert engine.asked == [ids(rollout)]


def test_an_order_hears_of_groups_that_are_not_trained_on() -> None:
    orders: list[ByDifficulty] = []

    def order(stream: PromptStream) -> ByDifficulty:
        orders.append(ByDifficulty(stream, least=0.5))
        return orders[0]

    engine, _, scored = run(lambda id: False, rounds=1, order=order)
    told = {id: 0.5 for asked in engine.asked for id in asked}
    assert len(told) == 8
    assert orders[0].state()["known"] == told
    assert scored.metrics["order/known_frac"] == 8 / 40


def ahead(most: int) -> list[list[str]]:
    """The prompts that each step is trained on, where rollouts are made up to `most` steps ahead
    and those of dead groups in between."""
    stream, turns = PromptStream([make_prompt(str(n)) for n in range(9)], 3, 3), Turns()
    sampler = Sampler(
        prompts=ByDifficulty(stream, least=0.3, lag=most),
        engine=Engine(lambda id: int(id) % 3 > 0),
        score=SUITE,
        ranks=ALONE,
        group_size=GROUP,
        seed=3,
        steps=range(8),
    )
    refill = Refill(replace(sampler, engine=EngineInTurn(sampler.engine, turns)), 2, rounds=1)
    with closing(Ahead(sampler, turns, most)) as rollouts:
        return [ids(refill(step, *rollouts.take(step))[0]) for step in sampler.steps]


@pytest.mark.parametrize("most", [1, 3])
def test_rollouts_ahead_and_replacements_share_an_engine_and_chance_decides_nothing(
    most: int,
) -> None:
    found = ahead(most)
    assert found == ahead(most)
    assert all(int(id) % 3 > 0 for step in found for id in step)


@pytest.mark.parametrize(
    ("rows", "weights", "share"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], [1.0, 3.0], 0.25),
        ([[1.0, 0.5], [1.0, 0.5]], [1.0, 3.0], 0.0),
        ([[1.0, 0.0], [0.0, 0.0]], [0.0, 1.0], 0.0),
        ([[1.0, None], [0.0, 0.0]], [1.0, 3.0], 1.0),
        ([[None, None], [None, None]], [1.0, 1.0], 0.0),
    ],
)
def test_a_group_tells_by_the_weight_of_the_rewards_that_differ(
    rows: list[list[float | None]], weights: list[float], share: float
) -> None:
    scored = make_scores(rows)
    rewards = replace(scored.rewards, weights=torch.tensor(weights))
    assert telling(replace(scored, rewards=rewards)) == [share]


def test_lost_scores_hide_what_a_group_tells_unless_others_tell_it() -> None:
    lost = {(0, 1): "timeout", (1, 1): "timeout"}
    assert telling(make_scores([[1.0, None], [1.0, None]], failures=lost)) == [None]
    assert telling(make_scores([[1.0, None], [0.0, None]], failures=lost)) == [1.0]
    one = {(0, 1): "timeout"}
    rows = [[1.0, None], [1.0, 0.5], [1.0, 0.5]]
    assert telling(make_scores(rows, group_size=3, failures=one)) == [0.0]


def test_a_reward_that_was_spared_tells_nothing() -> None:
    scored = make_scores([[1.0, None], [0.0, None]])
    spared = {(row, 1): 3.0 for row in range(2)}
    rewards = replace(scored.rewards, weights=torch.tensor([[1.0, 0.0]] * 2))
    assert telling(replace(scored, rewards=rewards, spared=spared)) == [0.25]


matrices = st.integers(1, 4).flatmap(
    lambda groups: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2),
        min_size=groups * 3,
        max_size=groups * 3,
    )
)


@given(matrices)
def test_groups_are_dead_that_the_estimators_call_so(rows: list[list[float]]) -> None:
    scored = make_scores(rows, group_size=3)
    dead = telling(scored).count(0.0) / (len(rows) / 3)
    assert RVPO()(scored.rewards).metrics["advantage/dead_group_frac"] == dead


@given(matrices, st.data())
def test_groups_that_are_picked_bring_everything_along(
    rows: list[list[float]], data: st.DataObject
) -> None:
    count = len(rows)
    rewards = Rewards(torch.tensor(rows), ["a", "b"], 3, prompts=list(map(str, range(count // 3))))
    missing = data.draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, 1))))
    valid = torch.ones_like(rewards.valid)
    for each in missing:
        valid[each] = False
    scored = replace(
        with_columns(replace(rewards, valid=valid), {each: f"lost {each}" for each in missing}),
        remarks={each: Remark("q", "a", f"{each}") for each in missing},
        spared={each: float(each[0]) for each in missing},
    )
    groups = data.draw(st.permutations(range(2 * (count // 3))))
    found = picked(stacked([scored, scored]), groups)
    twice = range(count // 3)
    expected = [twice[group % len(twice)] for group in groups]
    assert found.rewards.prompts == tuple(map(str, expected))
    for place, group in enumerate(expected):
        here, there = slice(3 * place, 3 * place + 3), slice(3 * group, 3 * group + 3)
        assert torch.equal(found.rewards.values[here], scored.rewards.values[there])
        assert torch.equal(found.rewards.valid[here], scored.rewards.valid[there])
    assert len(found.failures) == len(found.remarks) == len(found.spared) == 2 * len(missing)
    for (row, column), reason in found.failures.items():
        origin = 3 * expected[row // 3] + row % 3
        assert reason == scored.failures[origin, column]
        assert found.remarks[row, column] == scored.remarks[origin, column]
        assert found.spared[row, column] == scored.spared[origin, column]


@pytest.mark.parametrize(("factor", "prompts"), [(1, 10), (1.1, 11), (1.25, 13), (2, 20)])
def test_oversampling_is_a_factor_of_the_prompts_of_a_step(factor: float, prompts: int) -> None:
    settings = {"prompts_per_step": 10, "oversample": factor}
    assert tiny_config(Path("unused"), rollout=settings).rollout.sampled_prompts == prompts
