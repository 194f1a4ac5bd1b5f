"""How far a criterion can be relied on is found by asking again, and is what regression says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rvpo.agreement import Agreement, summed
from rvpo.config.judge import BudgetConfig, EndpointConfig, JudgeConfig, RepeatConfig
from rvpo.config.judges import OWN
from rvpo.criterion import Criterion
from rvpo.judge.types import Answer, Job, Judge, Question, Usage
from rvpo.judge.worker.asker import Asker
from rvpo.report.metrics import entry_of
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.judging import AskedJudge
from rvpo.rewards.reliability import Reliabilities, Reliability, agreements
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.scoring import AnyReward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.types import Prompt, Rewards, Rollout, RolloutScores
from tests.fakes import FakeJudge, make_criteria, make_prompt, make_sample, on_each_rank
from tests.judge.server import FakeEndpoint

Scores = npt.NDArray[np.float64]


def step(values: Scores, valid: npt.NDArray[np.bool_] | None = None) -> RolloutScores:
    """One column of scores [P, G]."""
    rewards = Rewards(
        torch.tensor(values.reshape(-1, 1)),
        ["a"],
        values.shape[1],
        valid=None if valid is None else torch.tensor(valid.reshape(-1, 1)),
    )
    return RolloutScores(rewards=rewards, aspects=rewards.columns)


def agreement(first: Scores, *others: Scores) -> Agreement:
    """That of scores [P, G] with their repeats."""
    found = agreements(step(first), [step(other) for other in others], ["a"])
    return found.get("a", Agreement())


def estimate(first: Scores, *others: Scores) -> float:
    found = agreement(first, *others)
    assume(found.spread > 1e-6)
    return found.shared / found.spread


def drawn(
    chance: np.random.Generator, chances: Sequence[float], groups: int, size: int, times: int = 2
) -> list[Scores]:
    """Verdicts of a judge that meets a criterion with a chance of its own for each response."""
    p = chance.choice(chances, (groups, size))
    return [(chance.random((groups, size)) < p).astype(float) for _ in range(times)]


def true_reliability(chances: Sequence[float]) -> float:
    p = np.array(chances)
    return float(p.var() / (p.var() + (p * (1 - p)).mean()))


grids = st.tuples(st.integers(1, 5), st.integers(2, 6), st.integers(0, 999)).map(
    lambda shape: drawn(np.random.default_rng(shape[2]), (0.1, 0.4, 0.9), *shape[:2])
)
"""Two sets of verdicts [P, G]."""


# --- the estimate ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(grids)
def test_it_is_the_slope_by_which_a_verdict_predicts_its_repeat_within_groups(
    verdicts: list[Scores],
) -> None:
    """Least squares with a level for each group of each repeat: no formula of ours."""
    first, second = verdicts
    found = estimate(first, second)
    groups, size = first.shape
    levels = np.kron(np.eye(2 * groups), np.ones((size, 1)))
    given_, asked = (np.concatenate([x, y]).ravel() for x, y in ((first, second), (second, first)))
    slope, *_ = np.linalg.lstsq(np.column_stack([given_, levels]), asked, rcond=None)[0]
    assert found == pytest.approx(slope)


@settings(deadline=None, max_examples=25)
@given(grids, st.floats(-3, 3), st.floats(-5, 5), st.integers(0, 99))
def test_neither_the_scale_nor_any_order_matters(
    verdicts: list[Scores], factor: float, shift: float, seed: int
) -> None:
    assume(abs(factor) > 0.1)
    first, second = verdicts
    found = estimate(first, second)
    assert estimate(second, first) == pytest.approx(found)
    moved = [factor * each + shift for each in verdicts]
    assert estimate(moved[0], moved[1]) == pytest.approx(found)
    chance = np.random.default_rng(seed)
    rows, columns = chance.permutation(len(first)), chance.permutation(first.shape[1])
    assert estimate(first[rows][:, columns], second[rows][:, columns]) == pytest.approx(found)
    levels = chance.normal(size=(len(first), 1))  # of prompts, which advantages do not compare
    assert estimate(first + levels, second + levels) == pytest.approx(found)


@settings(deadline=None, max_examples=30)
@given(grids)
def test_a_judge_that_repeats_itself_is_certain_and_one_that_turns_round_is_not(
    verdicts: list[Scores],
) -> None:
    first, _ = verdicts
    found = agreement(first, first)
    assume(found.spread > 0)
    same, other = Reliability.of(found), Reliability.of(agreement(first, 1 - first))
    assert same is not None
    assert other is not None
    assert (same.value, same.high, other.value, other.low) == (1, 1, 0, 0)
    assert same.low < 1  # of however few, it may be luck


def test_where_nothing_differs_nothing_is_known() -> None:
    same = np.full((3, 4), 0.1)
    assert agreements(step(same), [step(same)], ["a"]) == {}
    assert Reliability.of(Agreement()) is None


def test_a_missing_verdict_takes_its_repeat_with_it() -> None:
    first, second = drawn(np.random.default_rng(1), (0.2, 0.8), 6, 5)
    there = np.ones((6, 5), bool)
    there[:, 2] = False
    found = agreements(step(first), [step(second, there)], ["a"])["a"]
    keep = [0, 1, 3, 4]
    assert asdict(found) == pytest.approx(asdict(agreement(first[:, keep], second[:, keep])))


def test_of_three_verdicts_each_is_the_repeat_of_each_other() -> None:
    a, b, c = drawn(np.random.default_rng(2), (0.2, 0.8), 6, 5, times=3)
    pairs = [agreement(a, b), agreement(a, c), agreement(b, c)]
    found = agreement(a, b, c)
    assert found.shared == pytest.approx(sum(each.shared for each in pairs) / 3)
    assert found.spread == pytest.approx(sum(each.spread for each in pairs) / 3)


@pytest.mark.parametrize(
    "chances", [(0.5,), (0.1, 0.9), (0.02, 0.98), (0.05, 0.2), (0.0, 1.0)], ids=str
)
@pytest.mark.parametrize("groups", [6, 20])
def test_the_interval_holds_the_true_reliability_about_as_often_as_it_says(
    chances: tuple[float, ...], groups: int
) -> None:
    chance = np.random.default_rng(7)
    found = [Reliability.of(_sums(*drawn(chance, chances, groups, 8))) for _ in range(120)]
    known = [each for each in found if each is not None]
    truth = true_reliability(chances)
    held = sum(each.low <= truth <= each.high for each in known) / len(known)
    assert len(known) > 100
    assert held >= 0.9
    assert np.mean([each.high - each.low for each in known]) < 0.9  # and says something


def _sums(first: Scores, second: Scores) -> Agreement:
    """The same as `agreement`, quicker."""
    d, e = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    c, v = d * e, (d**2 + e**2) / 2
    total = Agreement()
    for sums in zip(*(x.sum(axis=1) for x in (c, v, v**2)), strict=True):
        if sums[1] > 0:
            total += Agreement.of_group(*map(float, sums))
    return total


def test_the_quicker_sums_are_the_same() -> None:
    first, second = drawn(np.random.default_rng(3), (0.2, 0.8), 5, 6)
    assert asdict(_sums(first, second)) == pytest.approx(asdict(agreement(first, second)))


@settings(deadline=None, max_examples=30)
@given(grids, st.integers(1, 4))
def test_parts_of_the_groups_add_up(verdicts: list[Scores], cut: int) -> None:
    first, second = verdicts
    parts = [agreement(first[s], second[s]) for s in (slice(cut), slice(cut, None))]
    together = summed({"a": part} for part in parts)["a"]
    assert asdict(together) == pytest.approx(asdict(agreement(first, second)))


def test_shrinking_by_it_comes_closest_to_what_the_judge_settles_on() -> None:
    """Kelley's equation: of all factors on a verdict's deviation, the best in mean square."""
    chance = np.random.default_rng(5)
    p = chance.choice((0.2, 0.7, 0.9), (4000, 8))
    verdicts = (chance.random(p.shape) < p).astype(float)
    repeat = (chance.random(p.shape) < p).astype(float)
    d, t = (x - x.mean(axis=1, keepdims=True) for x in (verdicts, p))
    factors = np.linspace(0, 1, 201)
    errors = [((factor * d - t) ** 2).mean() for factor in factors]
    found = Reliability.of(_sums(verdicts, repeat))
    assert found is not None
    assert factors[int(np.argmin(errors))] == pytest.approx(found.value, abs=0.02)
    assert found.value == pytest.approx(true_reliability((0.2, 0.7, 0.9)), abs=0.02)


# --- what a run remembers -------------------------------------------------------------------------


def with_repeats(values: Scores, found: Agreement) -> RolloutScores:
    return replace(step(values), agreements={"a": found})


def test_repeats_act_on_later_steps_and_not_on_their_own() -> None:
    first, second = drawn(np.random.default_rng(4), (0.5,), 20, 8)
    weigh = Reliabilities({"a": 50.0})
    scored = weigh(with_repeats(first, agreement(first, second)))
    assert scored.rewards.reliability is not None
    assert scored.rewards.reliability.eq(1).all()
    found = Reliability.of(agreement(first, second))
    assert found is not None
    assert scored.metrics["judge/a/reliability"] == found.value
    later = weigh(with_repeats(first, Agreement())).rewards.reliability
    assert later is not None
    assert later.unique().tolist() == pytest.approx([found.cautious])
    assert found.value < found.cautious < 0.3


def test_little_knowledge_shrinks_little() -> None:
    for scores, expected in ((0.0, 1.0), (10.0, 0.5), (990.0, 0.01)):
        known = Reliability(value=0.0, low=0.0, high=1.0, scores=scores)
        assert known.cautious == pytest.approx(expected)


def test_what_was_seen_counts_half_after_its_half_life() -> None:
    chance = np.random.default_rng(4)
    old, new = (agreement(*drawn(chance, chances, 20, 8)) for chances in ((0.5,), (0.1, 0.9)))
    weigh = Reliabilities({"a": 5.0})
    for found in (old, *[Agreement()] * 4, new):
        metrics = weigh(with_repeats(np.eye(4), found)).metrics
    assert metrics["judge/a/reliability"] == pytest.approx(
        (old.shared / 2 + new.shared) / (old.spread / 2 + new.spread)
    )
    # Old ones are as many as before where nothing comes after them, and fewer beside new ones.
    assert old.faded(0.5).scores == pytest.approx(old.scores)
    assert metrics["judge/a/reliability_scores"] < old.scores + new.scores


def test_it_goes_on_from_its_state() -> None:
    chance = np.random.default_rng(6)
    steps = [drawn(chance, (0.3, 0.8), 5, 4) for _ in range(4)]
    whole, before, after = (Reliabilities({"a": 3.0}) for _ in range(3))
    expected = [whole(with_repeats(a, agreement(a, b))).metrics for a, b in steps]
    for a, b in steps[:2]:
        before(with_repeats(a, agreement(a, b)))
    after.restore(json.loads(json.dumps(before.state())))
    assert [after(with_repeats(a, agreement(a, b))).metrics for a, b in steps[2:]] == expected[2:]


def test_without_repeats_scores_stay_the_object_that_they_were() -> None:
    scored = step(np.eye(2))
    assert Reliabilities({})(scored) is scored


# --- asking again ---------------------------------------------------------------------------------


COINS = {
    "steady": (0.0, 1.0),
    "wavering": (0.1, 0.9),
    "coin": (0.5, 0.5),
}
"""Chances that each criterion is met: of one half of the responses, and of the other."""
CRITERIA = {name: Criterion(text=f"The response is {name}.") for name in COINS}


def chance_of(criterion: str, shown: str) -> float:
    return COINS[criterion][hashlib.sha256(f"{criterion} {shown}".encode()).digest()[0] % 2]


def flips(seed: int = 0) -> Any:
    """The rule of a judge whose verdicts are drawn anew each time."""
    draw = random.Random(seed)

    def rule(response: str, question: Question) -> Answer:
        criterion = question.text.removesuffix(".").split()[-1]
        met = draw.random() < chance_of(criterion, response)
        return Answer(value=float(met), usage=Usage(requests=1, cost=0.5))

    return rule


def rollout(prompts: int, size: int, first: int = 0) -> Rollout:
    samples = [
        make_sample(make_prompt(f"p/{n}"), f"response {n} {g}")
        for n in range(first, first + prompts)
        for g in range(size)
    ]
    return Rollout(samples=tuple(samples), group_size=size)


RUBRIC = RubricReward(name="rubric", form="channels", fixed=CRITERIA)


def suite(judge: Judge, repeat: RepeatConfig | None, *rewards: AnyReward) -> RewardSuite:
    asked = AskedJudge(judge, BudgetConfig(group=1, step=1), repeat)
    return RewardSuite(rewards or (RUBRIC,)).judged_by({OWN: asked})


ALWAYS = RepeatConfig(share=1.0)


class ServerJudge:
    """Asks a server from a thread."""

    def __init__(self, asker: Asker, loop: asyncio.AbstractEventLoop) -> None:
        self._asker, self._loop = asker, loop

    def submit(self, job: Job) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(self._asker.answer(job), self._loop)

    def cancel(self) -> None: ...


@contextmanager
def served(config: JudgeConfig) -> Iterator[ServerJudge]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asker = Asker(config)
    try:
        asyncio.run_coroutine_threadsafe(asker.__aenter__(), loop).result()
        yield ServerJudge(asker, loop)
        asyncio.run_coroutine_threadsafe(asker.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_criteria_of_a_server_that_flips_coins_are_found_as_reliable_as_they_are() -> None:
    asked = Counter[str]()

    def truth(shown: str) -> bool:
        # Drawn from what is asked, and not from the order in which it arrives.
        asked[shown] += 1
        draw = random.Random(f"3 {asked[shown]} {shown}").random()
        criterion = next(name for name in COINS if f"The response is {name}." in shown)
        return draw < chance_of(criterion, shown)

    with FakeEndpoint(truth=truth, keep_bodies=False) as endpoint:
        url = EndpointConfig(url=endpoint.url)
        with served(JudgeConfig(model="judge", endpoints=(url,), cache=None)) as judge:
            scoring = suite(judge, ALWAYS).begin(seed=0)
            scored = scoring.collect(rollout(20, 8))
    assert len(endpoint.seen.arrivals) == 2 * 20 * 8 * len(COINS)
    for name, chances in COINS.items():
        found = Reliability.of(scored.agreements[f"rubric/{name}"])
        assert found is not None
        truth_ = true_reliability(chances)
        assert found.low <= truth_ <= found.high
        assert found.high - found.low < 0.45
        assert abs(found.value - truth_) < 0.2


def test_the_first_verdict_counts_and_repeats_change_no_score() -> None:
    def by_text(response: str, question: Question) -> Answer:
        return Answer(value=float(len(response + question.text) % 3 == 0))

    plain, again = FakeJudge(by_text), FakeJudge(by_text)
    expected = suite(plain, None).begin(seed=5).collect(rollout(4, 3))
    scored = suite(again, ALWAYS).begin(seed=5).collect(rollout(4, 3))
    assert scored.rewards.values.equal(expected.rewards.values)
    assert [job for job in again.jobs if not job.repeat] == plain.jobs
    assert sum(job.repeat == 1 for job in again.jobs) == len(plain.jobs)
    assert expected.agreements == {}


def repeated_prompts(judge: FakeJudge) -> set[str]:
    return {job.response.split()[1] for job in judge.jobs if job.repeat}


def test_a_share_of_the_prompts_is_asked_again_whole_and_by_the_seed() -> None:
    chosen = []
    for seed in (1, 1, 2):
        judge = FakeJudge(flips())
        suite(judge, RepeatConfig(times=3, share=0.25)).begin(seed=seed).collect(rollout(100, 2))
        prompts = repeated_prompts(judge)
        assert len(judge.jobs) == 200 + 4 * len(prompts)
        chosen.append(prompts)
    assert chosen[0] == chosen[1] != chosen[2]
    assert 12 <= len(chosen[0]) <= 40


def test_nothing_is_asked_again_outside_training() -> None:
    judge = FakeJudge(flips())
    scored = suite(judge, ALWAYS)(rollout(4, 3))
    assert not repeated_prompts(judge)
    assert scored.agreements == {}


def test_every_rank_finds_what_one_would_have_found() -> None:
    def by_repeat(response: str, question: Question) -> Answer:
        return Answer(
            value=float(hashlib.sha256((response + question.text).encode()).digest()[0] % 2)
        )

    def work(ranks: Ranks) -> Any:
        mine = rollout(3, 4, first=3 * ranks.rank)
        scoring = suite(FakeJudge(by_repeat), RepeatConfig(share=0.5)).begin(seed=1)
        weigh = Reliabilities({"rubric": 10.0})
        weigh(scoring.collect(mine, ranks))
        return weigh.state()

    one, other = on_each_rank(work)
    whole = Reliabilities({"rubric": 10.0})
    scoring = suite(FakeJudge(by_repeat), RepeatConfig(share=0.5)).begin(seed=1)
    whole(scoring.collect(rollout(6, 4)))
    assert one == other
    assert one
    assert json.loads(json.dumps(one)) == {
        name: pytest.approx(known) for name, known in whole.state().items()
    }


def test_a_lost_repeat_is_no_lost_verdict() -> None:
    judge = FakeJudge(flips())
    asked = AskedJudge(_OnlyFirst(judge), BudgetConfig(group=0, step=0), ALWAYS)
    scored = RewardSuite([RUBRIC]).judged_by({OWN: asked}).begin(seed=0).collect(rollout(4, 3))
    assert not scored.failures
    assert scored.rewards.valid.all()
    assert scored.agreements == {}
    assert scored.metrics["judge/failed_frac"] == 0.5  # which is told


class _OnlyFirst:
    """A judge that does not answer twice."""

    def __init__(self, judge: FakeJudge) -> None:
        self._judge = judge

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        if not job.repeat:
            return self._judge.submit(job)
        lost: Future[tuple[Answer, ...]] = Future()
        lost.set_result((Answer(value=None, failure="timeout"),) * len(job.questions))
        return lost

    def cancel(self) -> None: ...


def test_repeats_are_paid_for_and_counted() -> None:
    once = suite(FakeJudge(flips()), None).begin(seed=0).collect(rollout(4, 3)).metrics
    twice = suite(FakeJudge(flips()), ALWAYS).begin(seed=0).collect(rollout(4, 3)).metrics
    for name in ("judge/requests", "judge/cost", "judge/rubric/verdicts"):
        assert twice[name] == 2 * once[name] > 0


def ragged() -> list[Prompt]:
    """Prompts with criteria of their own."""
    return [
        make_prompt("p/0", rubric=make_criteria("coin", "steady", label="essential", axis="tone")),
        make_prompt("p/1", rubric=make_criteria("coin", label="pitfall")),
        make_prompt("p/2", rubric=make_criteria("coin", "coin.", label="pitfall", axis="tone")),
    ]


def test_criteria_of_the_data_are_relied_on_by_class() -> None:
    prompts = [replace(p, id=f"{p.id}/{n}") for n in range(20) for p in ragged()]
    reward = RubricReward(name="own", form="channels").fitted(prompts)
    samples = [make_sample(prompt, f"{prompt.id} {g}") for prompt in prompts for g in range(6)]
    both = suite(FakeJudge(flips()), ALWAYS, reward)
    scored = both.begin(seed=0).collect(Rollout(samples=tuple(samples), group_size=6))
    assert set(scored.agreements) == {"own/essential", "own/pitfall"}
    weigh = Reliabilities(both.half_lives)
    metrics = weigh(scored).metrics
    assert metrics["judge/own/pitfall/reliability"] < 0.2
    assert 0.3 < metrics["judge/own/essential/reliability"] < 0.7
    assert all(entry_of(name) for name in metrics)
    known = weigh(scored).rewards.reliability
    assert known is not None
    essential, pitfall = (scored.aspects[f"own/{name}"] for name in ("essential", "pitfall"))
    assert known[essential].unique().numel() == known[pitfall].unique().numel() == 1
    assert known[pitfall].max() < known[essential].min()
    assert known[~(essential | pitfall)].eq(1).all()


@pytest.mark.parametrize("form", ["explicit", "implicit"])
def test_of_a_mean_or_a_rating_the_whole_score_is_compared(form: Any) -> None:
    def rule(response: str, question: Question) -> Answer:
        if question.kind == "rating":
            return Answer(value=float(len(response) % 4) / 3)
        return flips(1)(response, question)

    reward = replace(RUBRIC, form=form)
    scored = suite(FakeJudge(rule), ALWAYS, reward).begin(seed=0).collect(rollout(8, 5))
    assert set(scored.agreements) <= {"rubric"}


@pytest.mark.parametrize(("error", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.0, 0.2)])
def test_a_share_of_wins_is_relied_on_as_a_whole(error: float, low: float, high: float) -> None:
    draw = random.Random(2)

    def better(response: str, question: Question) -> Answer:
        truth = response.split()[-1] > question.other.split()[-1]
        return Answer(value=float(truth != (draw.random() < error)))

    wins = ComparisonReward(name="wins", question="Which is better?")
    scored = suite(FakeJudge(better), ALWAYS, wins).begin(seed=0).collect(rollout(20, 5))
    found = Reliability.of(scored.agreements["wins"])
    assert found is not None
    assert low <= found.value <= high


def test_rewards_that_no_judge_gives_are_taken_as_they_are() -> None:
    length = Reward(
        name="length",
        function=lambda completions, **_: [float(len(c[0]["content"])) for c in completions],
    )
    both = suite(FakeJudge(flips()), ALWAYS, RUBRIC, length)
    weigh = Reliabilities(both.half_lives)
    scoring = both.begin(seed=0)
    weigh(scoring.collect(rollout(30, 4)))
    known = weigh(both.begin(seed=1).collect(rollout(30, 4))).rewards
    assert known.reliability is not None
    assert known.reliability[:, known.names.index("length")].eq(1).all()
    assert known.reliability[:, known.names.index("rubric/coin")].max() < 0.5


def test_ranks_gather_reliability_with_its_rows() -> None:
    def work(ranks: Ranks) -> torch.Tensor | None:
        mine = step(np.eye(2))
        own = torch.full((4, 1), 0.1 * (ranks.rank + 1), dtype=torch.double)
        relied = replace(mine, rewards=replace(mine.rewards, reliability=own))
        return ranks.gather(relied).rewards.reliability

    for found in on_each_rank(work):
        assert isinstance(found, torch.Tensor)
        assert found[:, 0].tolist() == [0.1] * 4 + [0.2] * 4
