"""Rollouts up to n steps ahead: in order, each once, with weights at most n updates old, whatever
is fast and whatever is slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Barrier, Condition
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.data.order import PromptStream
from rvpo.errors import EngineError
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import OnSample
from rvpo.rollout.engine_in_turn import EngineInTurn
from rvpo.rollout.further import Further
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.trainer.stream import Ahead, InTurn, RolloutStream, Sampler
from rvpo.types import Prompt, Rollout, Sample
from tests.fakes import FakeJudge, make_criteria, make_sample, on_each_rank, only, says
from tests.judge.processes import wait_until
from tests.runtime.test_turns import Asked

PROMPTS = tuple(Prompt(id=str(n), messages=()) for n in range(10))
LONG = 60.0
"""Seconds after which a test that hangs fails; nothing waits for it to pass."""


@dataclass
class HeldEngine:
    """Finishes a rollout when it may, and checks that weights come when they may.

    Args:
        in_flight: weights may come while it generates.
    """

    in_flight: bool = False
    version: int = -1
    begun: list[int] = field(default_factory=list)
    """Version at the start of each rollout."""
    finished: int = 0
    may_finish: int = 0
    """Rollouts that are not held back."""
    fails_at: int | None = None
    moved: Condition = field(default_factory=Condition)
    generating: bool = False

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        with self.moved:
            assert not self.generating
            self.generating = True
            place, first = len(self.begun), self.version
            self.begun.append(first)
            self.moved.notify_all()
            held = not self.moved.wait_for(lambda: place < self.may_finish, LONG)
            assert not held
            self.generating = False
            self.finished += 1
            self.moved.notify_all()
            if place == self.fails_at:
                raise EngineError("the engine is gone")
            last = self.version
        samples = [
            versioned(make_sample(prompt, "ab"), first, last)
            for prompt in prompts
            for _ in range(samples_per_prompt)
        ]
        for row, sample in enumerate(samples):
            on_sample(row, sample)
        return Rollout(samples=tuple(samples), group_size=samples_per_prompt)

    def load_weights(self, weights: object, version: int) -> None:
        with self.moved:
            assert self.in_flight or not self.generating
            assert version == self.version + 1 or self.version < 0
            self.version = version
            self.moved.notify_all()

    def close(self) -> None:
        pass

    def let(self, rollouts: int) -> None:
        """Hold back no more than those after the first so many."""
        with self.moved:
            self.may_finish = max(self.may_finish, rollouts)
            self.moved.notify_all()

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self.moved:
            assert self.moved.wait_for(reached, LONG)


def versioned(sample: Sample, first: int, last: int) -> Sample:
    """The sample, begun with weights of one version and ended with those of another."""
    versions = (first, last) if first != last else ()
    return replace(sample, policy_version=first, versions=versions)


def sampler_of(engine: HeldEngine, steps: range, ranks: Ranks | None = None) -> Sampler:
    reward = Reward("one", lambda completions, **_: [1.0] * len(completions))
    return Sampler(
        prompts=PromptStream(PROMPTS, 4, seed=1),
        engine=engine,
        score=RewardSuite([reward]),
        ranks=ranks or Ranks(rank=0, size=1, device=torch.device("cpu")),
        group_size=2,
        seed=1,
        steps=steps,
    )


def in_turn(steps: range) -> list[list[str]]:
    """Prompts of each step where nothing is ahead."""
    engine = HeldEngine(may_finish=len(steps))
    stream = InTurn(sampler_of(engine, steps))
    return [ids(take(stream, step)) for step in steps]


def take(stream: RolloutStream, step: int) -> Rollout:
    rollout, scoring = stream.take(step)
    assert len(scoring.collect(rollout).rewards.values) == len(rollout.samples)
    return rollout


def ids(rollout: Rollout) -> list[str]:
    return [sample.prompt.id for sample in rollout.samples[::2]]


@dataclass(frozen=True)
class Course:
    """The speeds of a run: rollouts that are finished when each of its updates is."""

    start: int
    most: int
    finished: tuple[int, ...]

    @property
    def steps(self) -> range:
        return range(self.start, self.start + len(self.finished))


@st.composite
def courses(draw: st.DrawFn) -> Course:
    most, count = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    finished: list[int] = []
    for update in range(count):
        least = max([update + 1, *finished[-1:]])
        finished.append(draw(st.integers(least, min(update + 1 + most, count))))
    return Course(draw(st.integers(0, 3)), most, tuple(finished))


def train(course: Course, engine: HeldEngine, stream: RolloutStream) -> list[Rollout]:
    """Go through a course; every rollout that was taken."""
    taken = []
    stream.refresh([], course.start)
    for update, finished in enumerate(course.finished):
        engine.let(update + 1)
        taken.append(take(stream, course.start + update))
        engine.let(finished)  # a slow update, during which so many become finished
        engine.wait_for(lambda finished=finished: engine.finished >= finished)
        allowed = min(update + 1 + course.most, len(course.finished))
        assert len(engine.begun) <= allowed
        if finished < allowed:  # and generation goes on as far as it may
            engine.wait_for(lambda finished=finished: len(engine.begun) > finished)
        if not engine.in_flight:
            engine.let(allowed)
        stream.refresh([], course.start + update + 1)
    return taken


@settings(deadline=None, max_examples=60)
@given(courses(), st.booleans())
def test_whatever_is_slow_rollouts_come_in_order_and_at_most_n_updates_old(
    course: Course, in_flight: bool
) -> None:
    engine = HeldEngine(in_flight)
    sampler = sampler_of(engine, course.steps)
    stream = Ahead(sampler, Asked(), course.most, in_flight=in_flight)
    with closing(stream):
        taken = train(course, engine, stream)
    assert [ids(rollout) for rollout in taken] == in_turn(course.steps)
    assert len(engine.begun) == engine.finished == len(course.finished)
    for step, rollout in zip(course.steps, taken, strict=True):
        for sample in rollout.samples:
            assert 0 <= step - sample.policy_version <= course.most
            assert all(sample.policy_version <= each <= step for each in sample.token_versions)
            assert in_flight or not sample.versions


@settings(deadline=None, max_examples=20)
@given(courses(), st.data())
def test_a_failure_ahead_is_raised_where_its_rollout_is_taken_and_ends_what_is_ahead(
    course: Course, data: Any
) -> None:
    fails_at = data.draw(st.integers(0, len(course.finished) - 1))
    engine = HeldEngine(may_finish=99, fails_at=fails_at)
    stream = Ahead(sampler_of(engine, course.steps), Asked(), course.most)
    with closing(stream):
        stream.refresh([], course.start)
        for step in course.steps[:fails_at]:
            take(stream, step)
            stream.refresh([], step + 1)
        with pytest.raises(EngineError, match="the engine is gone"):
            stream.take(course.start + fails_at)
    assert len(engine.begun) == fails_at + 1


def test_one_step_ahead_every_rollout_but_the_first_is_one_update_old() -> None:
    engine = HeldEngine(may_finish=99)
    stream = Ahead(sampler_of(engine, range(2, 9)), Asked(), 1)
    with closing(stream):
        stream.refresh([], 2)
        for step in range(2, 9):
            take(stream, step)
            stream.refresh([], step + 1)
    assert engine.begun == [2, 2, 3, 4, 5, 6, 7]


def test_generation_that_is_fast_is_n_updates_ahead_and_then_waits() -> None:
    engine, count, most = HeldEngine(may_finish=99), 8, 3
    course = Course(0, most, tuple(min(n + 1 + most, count) for n in range(count)))
    stream = Ahead(sampler_of(engine, course.steps), Asked(), most)
    with closing(stream):
        taken = train(course, engine, stream)
    assert [step - r.samples[0].policy_version for step, r in enumerate(taken)] == [
        *(0, 1, 2),
        *(3, 3, 3, 3, 3),
    ]


def test_weights_wait_for_the_rollout_under_way_and_for_no_other() -> None:
    engine, turns = HeldEngine(), Asked()
    stream = Ahead(sampler_of(engine, range(9)), turns, 4)
    with closing(stream), ThreadPoolExecutor(1) as loop:
        stream.refresh([], 0)
        engine.let(1)
        stream.take(0)
        refreshed = loop.submit(stream.refresh, [], 1)
        wait_until(lambda: turns.asked == 2)
        assert engine.version == 0
        engine.let(2)
        refreshed.result(LONG)
        engine.wait_for(lambda: len(engine.begun) == 3)
        assert engine.begun == [0, 0, 1]
        engine.let(9)


def test_weights_in_flight_wait_for_nothing() -> None:
    engine = HeldEngine(in_flight=True, may_finish=1)
    stream = Ahead(sampler_of(engine, range(3)), Asked(), 1, in_flight=True)
    with closing(stream):
        stream.refresh([], 0)
        stream.take(0)
        stream.refresh([], 1)
        assert engine.generating
        engine.let(9)
        rollout, _ = stream.take(1)
    assert {sample.token_versions for sample in rollout.samples} == {(0, 1)}


def test_the_judge_is_asked_about_what_is_ahead_while_the_policy_learns() -> None:
    engine, steps = HeldEngine(may_finish=9), range(5)
    judge = FakeJudge(says, held=True)
    prompts = [Prompt(id="0", messages=(), columns={"rubric": make_criteria("a")})]
    suite = RewardSuite([RubricReward(name="judged", form="explicit")])
    judged = replace(
        sampler_of(engine, steps),
        prompts=PromptStream(prompts, 1, seed=1),
        score=suite.fitted(prompts).judged_by(only(judge)),
    )
    with closing(Ahead(judged, Asked(), 3)) as stream:
        stream.refresh([], 0)
        stream.take(0)
        wait_until(lambda: len(judge.jobs) == 4 * 2)


@pytest.mark.parametrize("in_flight", [False, True])
def test_an_evaluation_has_the_engine_for_itself_between_two_rollouts(in_flight: bool) -> None:
    engine, turns = HeldEngine(in_flight, may_finish=1), Asked()
    stream = Ahead(sampler_of(engine, range(6)), turns, 3, in_flight=in_flight)
    evaluating = EngineInTurn(engine, turns)
    with closing(stream), ThreadPoolExecutor(1) as loop:
        stream.refresh([], 0)
        stream.take(0)
        evaluated = loop.submit(evaluating.generate, PROMPTS[:1], 1, 0)
        wait_until(lambda: turns.asked == 2)
        engine.let(3)
        rollout = evaluated.result(LONG)  # the third, with the fourth still to come
        assert [sample.prompt for sample in rollout.samples] == [PROMPTS[0]]
        engine.let(9)
        taken = [ids(take(stream, step)) for step in (1, 2)]
    assert taken == in_turn(range(3))[1:]


def test_what_is_closed_begins_nothing_more() -> None:
    engine, turns = HeldEngine(may_finish=1), Asked()
    stream = Ahead(sampler_of(engine, range(9)), turns, 4)
    stream.refresh([], 0)
    stream.take(0)
    engine.wait_for(lambda: len(engine.begun) == 2)
    stream.close()
    engine.let(9)
    wait_until(lambda: turns.asked == 0)
    assert len(engine.begun) == 2


def test_a_rollout_that_waited_for_its_turn_is_not_begun_after_the_end() -> None:
    engine, turns = HeldEngine(may_finish=9), Asked()
    stream = Ahead(sampler_of(engine, range(9)), turns, 1)
    with ThreadPoolExecutor(1) as loop:
        with turns.turn():
            taking = loop.submit(stream.take, 0)
            wait_until(lambda: turns.asked == 2)
            stream.close()
        assert taking.exception(LONG) is not None
    assert engine.begun == []


def test_weights_come_when_no_rank_generates() -> None:
    """Ranks may share servers, which stop for new weights."""
    everyone, turns = Barrier(2), [Asked(), Asked()]

    class Sharing(HeldEngine):
        def load_weights(self, weights: object, version: int) -> None:
            assert not any(each.generating for each in engines)
            super().load_weights(weights, version)
            everyone.wait(LONG)  # as ranks gather weights together

    engines = [Sharing(may_finish=9), Sharing(may_finish=1)]

    def work(ranks: Ranks) -> list[list[str]]:
        engine, steps = engines[ranks.rank], range(3)
        with closing(Ahead(sampler_of(engine, steps, ranks), turns[ranks.rank], 2)) as stream:
            stream.refresh([], 0)
            taken = [ids(stream.take(0)[0])]
            if ranks.rank == 1:  # whose next rollout is under way when the other rank is ready
                wait_until(lambda: engines[0].finished == 3 and turns[0].asked == 1)
                engine.let(9)
            for step in steps[1:]:
                stream.refresh([], step)
                taken.append(ids(stream.take(step)[0]))
            return taken

    mine, others = on_each_rank(work)
    assert not isinstance(mine, Exception), mine
    assert not isinstance(others, Exception), others
    assert [a + b for a, b in zip(mine, others, strict=True)] == in_turn(range(3))
