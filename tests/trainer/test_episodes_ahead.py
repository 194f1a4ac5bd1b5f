"""Episodes of steps to come, sampled while the policy learns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from rvpo.data.order import PromptStream
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.turns import Turns
from rvpo.trainer.stream import Ahead, InTurn, Sampler
from rvpo.types import Rollout
from tests.fakes import make_prompt
from tests.rollout.episodes.test_episode_engine import episodes

STEPS = range(3, 8)


def sampler_of(engine: EpisodeEngine) -> Sampler:
    reward = Reward("one", lambda completions, **_: [1.0] * len(completions))
    return Sampler(
        prompts=PromptStream(tuple(make_prompt(f"p/{n}") for n in range(6)), 2, seed=1),
        engine=engine,
        score=RewardSuite([reward]),
        ranks=Ranks(rank=0, size=1, device=torch.device("cpu")),
        group_size=2,
        seed=1,
        steps=STEPS,
    )


def taken(engine: EpisodeEngine, most: int) -> list[Rollout]:
    """Rollouts of all steps, at most so many ahead."""
    weights: Any = list(engine._engine._model.state_dict().items())  # type: ignore[attr-defined]
    sampler = sampler_of(engine)
    with closing(Ahead(sampler, Turns(), most) if most else InTurn(sampler)) as stream:
        stream.refresh(weights, STEPS.start)
        found = []
        for step in STEPS:
            rollout, scoring = stream.take(step)
            assert bool(scoring.collect(rollout).rewards.valid.all())
            found.append(rollout)
            stream.refresh(weights, step + 1)
    return found


def said(rollouts: Sequence[Rollout]) -> list[tuple[int, ...]]:
    return [sample.completion_ids for each in rollouts for sample in each.samples]


@pytest.mark.parametrize("most", [1, 2])
def test_episodes_made_ahead_are_those_that_would_have_been_made_in_turn(
    tiny_model: Path, most: int
) -> None:
    engine = episodes(tiny_model, times=1)
    with closing(engine):
        in_turn, ahead = taken(engine, 0), taken(engine, most)
    assert said(ahead) == said(in_turn)
    staleness = [
        step - sample.policy_version
        for step, rollout in zip(STEPS, ahead, strict=True)
        for sample in rollout.samples
    ]
    assert 1 <= max(staleness) <= most  # as many as there was time for
    turns = {
        len(sample.episode.turns)
        for each in ahead
        for sample in each.samples
        if sample.episode is not None
    }
    assert max(turns) == 3
