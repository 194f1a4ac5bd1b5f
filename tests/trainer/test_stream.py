"""Rollouts come in turn with training or one step ahead, each prompt once and in order."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing

import pytest
import torch
from torch import Tensor

from rvpo.data.order import PromptStream
from rvpo.errors import EngineError
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import OnSample
from rvpo.rollout.further import Further
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.turns import Turns
from rvpo.sampling import Sampling
from rvpo.trainer.stream import Ahead, InTurn, RolloutStream, Sampler
from rvpo.types import Prompt, Rollout
from tests.fakes import make_sample
from tests.judge.processes import wait_until

PROMPTS = tuple(Prompt(id=str(n), messages=()) for n in range(10))
STEPS = range(3, 8)


class FakeEngine:
    """Samples with the version of the weights it has; can be made to wait, or to fail."""

    def __init__(self) -> None:
        self.version = -1
        self.begun: list[int] = []
        self.go_on = threading.Event()
        self.held_from = 99  # the rollout that waits for `go_on`, and all later ones
        self.fails = False

    def generate(
        self,
        prompts: Iterable[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        version = self.version
        self.begun.append(version)
        assert len(self.begun) < self.held_from or self.go_on.wait(10)
        if self.fails:
            raise EngineError("the engine is gone")
        samples = [
            make_sample(prompt, policy_version=version)
            for prompt in prompts
            for _ in range(samples_per_prompt)
        ]
        for row, sample in enumerate(samples):
            on_sample(row, sample)
        return Rollout(samples=tuple(samples), group_size=samples_per_prompt)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        self.version = version

    def close(self) -> None:
        pass


def make(kind: type[InTurn] | type[Ahead]) -> tuple[FakeEngine, RolloutStream]:
    engine = FakeEngine()
    reward = Reward("one", lambda completions, **_: [1.0] * len(completions))
    sampler = Sampler(
        prompts=PromptStream(PROMPTS, 4, seed=1),
        engine=engine,
        score=RewardSuite([reward]),
        ranks=Ranks(rank=0, size=1, device=torch.device("cpu")),
        group_size=2,
        seed=1,
        steps=STEPS,
    )
    return engine, InTurn(sampler) if kind is InTurn else Ahead(sampler, Turns())


def trained(stream: RolloutStream) -> tuple[list[list[str]], list[int]]:
    """The prompts of each step, and how much older than the policy their samples were."""
    prompts, staleness = [], []
    stream.refresh([], STEPS.start)
    for step in STEPS:
        rollout, scoring = stream.take(step)
        assert scoring.collect(rollout).rewards.values.shape == (8, 1)
        prompts.append([sample.prompt.id for sample in rollout.samples[::2]])
        staleness += [step - sample.policy_version for sample in rollout.samples]
        stream.refresh([], step + 1)
    return prompts, staleness


def test_both_streams_visit_the_same_prompts_in_the_same_order() -> None:
    (_, in_turn), (_, ahead) = make(InTurn), make(Ahead)
    with closing(in_turn), closing(ahead):
        expected, fresh = trained(in_turn)
        found, stale = trained(ahead)
    assert found == expected
    assert set(fresh) == {0}
    assert stale == [0] * 8 + [1] * 8 * (len(STEPS) - 1)


def test_the_next_rollout_is_under_way_while_this_one_is_trained_on() -> None:
    engine, stream = make(Ahead)
    with closing(stream):
        stream.refresh([], 3)
        engine.held_from = 3
        stream.take(3)
        stream.take(4)
        wait_until(lambda: len(engine.begun) == 3)
        engine.go_on.set()


def test_weights_change_between_rollouts_only() -> None:
    engine, stream = make(Ahead)
    with closing(stream):
        stream.refresh([], 3)
        engine.held_from = 2
        stream.take(3)
        refreshing = threading.Thread(target=stream.refresh, args=([], 4))
        refreshing.start()
        refreshing.join(0.2)
        assert engine.version == 3
        engine.go_on.set()
        refreshing.join(10)
        assert engine.version == 4


def test_nothing_is_begun_beyond_the_last_step() -> None:
    engine, stream = make(Ahead)
    with closing(stream):
        trained(stream)
    assert len(engine.begun) == len(STEPS)


def test_a_failure_under_way_is_raised_where_its_rollout_is_taken() -> None:
    engine, stream = make(Ahead)
    with closing(stream):
        stream.refresh([], 3)
        engine.fails = True
        with pytest.raises(EngineError, match="the engine is gone"):
            stream.take(3)
