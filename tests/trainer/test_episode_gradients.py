"""The gradient of episodes against a plain loop over the policy's turns, one at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rvpo.runtime.ranks import Ranks
from rvpo.types import Rollout, Sample
from tests.fakes import make_prompt
from tests.gradients import accumulate, gradients
from tests.rollout.episodes.test_episode_engine import episodes
from tests.trainer.test_update import (
    make_advantages,
    make_policy,
    make_rollout,
    plain_gradients,
    plain_model,
    relative_difference,
)


def talked(rollout: Rollout, turns: int, seed: int = 1) -> Rollout:
    """Each sample's tokens as those of some turns, with tokens of a world between them, of which
    the engine says nonsense."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    samples = []
    for sample in rollout.samples:
        ids, logprobs = list(sample.completion_ids), list(sample.logprobs)
        given: list[int] = []
        for _ in range(draw(0, turns)):
            told = [draw(0, 256) for _ in range(draw(1, 6))]
            said = [draw(0, 258) for _ in range(draw(1, 6))]
            given += range(len(ids), len(ids) + len(told))
            ids += [*told, *said]
            logprobs += [*(draw(-30, 1) for _ in told), *(-5.0 - draw(0, 9) / 10 for _ in said)]
        samples.append(
            replace(sample, completion_ids=tuple(ids), logprobs=tuple(logprobs), given=tuple(given))
        )
    return replace(rollout, samples=tuple(samples))


def turns_of(sample: Sample) -> list[Sample]:
    """Each turn of the policy as a sample of its own, behind all that was there before."""
    length = len(sample.completion_ids)
    drawn = [place for place in range(length) if place not in sample.given]
    starts = [place for place in drawn if place - 1 not in drawn]
    stops = [place + 1 for place in drawn if place + 1 not in drawn]
    return [
        replace(
            sample,
            prompt_ids=(*sample.prompt_ids, *sample.completion_ids[:start]),
            completion_ids=sample.completion_ids[start:stop],
            logprobs=sample.logprobs[start:stop],
            given=(),
        )
        for start, stop in zip(starts, stops, strict=True)
    ]


def difference(
    rollout: Rollout, model: Path, ranks: Ranks, tokens: int = 4096, *, is_shared: bool = True
) -> float:
    """Relative one, of the update's gradient and the plain loop's."""
    advantages = make_advantages(rollout, untrained=(3,))
    policy = make_policy(model, ranks, tokens)
    policy.engine.module.choose(is_shared)
    accumulate(policy, rollout, advantages, ranks)
    turns, values = [], []
    for row, sample in enumerate(rollout.samples):
        own = turns_of(sample) if advantages.trained[row] else []
        turns += own
        values += [float(advantages.values[row])] * len(own)
    plain = plain_model(model)
    expected = plain_gradients(plain, plain, plain, turns, values, beta=0.0)
    return relative_difference(gradients(policy), expected)


@pytest.mark.parametrize(
    ("turns", "tokens", "is_shared"),
    [(2, 1, True), (6, 60, True), (6, 60, False), (6, 4096, True)],
)
def test_an_episode_gives_the_gradient_of_its_turns(
    tiny_model: Path, ranks: Ranks, turns: int, tokens: int, is_shared: bool
) -> None:
    rollout = talked(make_rollout(), turns)
    found = difference(rollout, tiny_model, ranks, tokens, is_shared=is_shared)
    print(f"{turns} turns, rows of {tokens} tokens: relative difference {found:.1e}")
    assert found < 1e-5


def test_episodes_of_an_engine_give_the_gradient_of_their_turns(
    tiny_model: Path, ranks: Ranks
) -> None:
    engine = episodes(tiny_model, times=2)
    rollout = engine.generate([make_prompt("p/0"), make_prompt("p/1", "What is 3?")], 4, seed=0)
    engine.close()
    said = [len(turns_of(sample)) for sample in rollout.samples]
    assert max(said) == 3
    told = [sample.episode for sample in rollout.samples if sample.episode is not None]
    assert said == [sum(turn.is_policy for turn in each.turns) for each in told]
    assert difference(rollout, tiny_model, ranks) < 1e-5
