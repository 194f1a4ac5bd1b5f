"""Tokens that the policy did not draw: context of the others, and nothing is learned from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.corrections import Mask, MaskAbove, MaskOlder, NoCorrection, Truncate
from rvpo.corrections.correction import Correction, Level
from rvpo.losses import Loss, PolicyLoss
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import MicroBatch, TrainedSample, arrange, micro_batches
from rvpo.trainer.objective import objective
from rvpo.trainer.statistics import TokenStatistics
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.fakes import make_sample
from tests.gradients import accumulate, gradients
from tests.trainer.test_update import make_advantages, make_rollout

CPU = torch.device("cpu")
CORRECTIONS: list[Correction] = [
    NoCorrection(),
    *(kind(level=level) for kind in (Mask, MaskAbove, Truncate) for level in get_args(Level)),
    MaskOlder(updates=1),
]
token = st.tuples(st.floats(-1, 1), st.floats(-1.5, 1.5), st.booleans())
tokens = st.lists(token, min_size=1, max_size=5).filter(lambda each: any(d for *_, d in each))


def batch_of(samples: list[list[tuple[float, float, bool]]], *, drawn_alone: bool) -> MicroBatch:
    """Two samples of tokens (move of the policy, drift of the engine, drawn), as a micro-batch.

    Args:
        drawn_alone: without the tokens that were not drawn, as if they had never been there.
    """
    kept = [[t for t in each if t[2] or not drawn_alone] for each in samples]
    rows = arrange(
        [
            TrainedSample(
                prompt_id=str(n),
                prompt_ids=(n,),
                completion_ids=tuple(range(len(each))),
                sampled_logprobs=tuple(-1.0 - drift for _, drift, _ in each),
                advantage=1.5 - 2 * n,
                given=tuple(i for i, (*_, drawn) in enumerate(each) if not drawn),
                group=n,
            )
            for n, each in enumerate(kept)
        ],
        tokens=100,
    )
    (batch,) = micro_batches(rows, [0.3, 0.2], CPU)
    order = [int(name) for name in batch.prompt_ids]
    flat = [t for n in order for t in kept[n]]
    return replace(batch, old_logprobs=torch.tensor([-1.0 + 0 * move for move, *_ in flat]))


def moves(samples: list[list[tuple[float, float, bool]]], batch: MicroBatch) -> Tensor:
    flat = [t for name in batch.prompt_ids for t in samples[int(name)]]
    return torch.tensor([-1.0 + 0.1 * move for move, *_ in flat])


@pytest.mark.parametrize("kind", get_args(PolicyLoss))
@pytest.mark.parametrize("correction", CORRECTIONS, ids=str)
@given(one=tokens, two=tokens)
@settings(max_examples=6, deadline=None)
def test_an_update_is_that_of_the_drawn_tokens_alone(
    kind: type[Loss], correction: Correction, one: Any, two: Any, ranks: Ranks
) -> None:
    if kind().problem(correction):
        return
    config = UpdateConfig(loss=kind(), correction=correction, beta=0.1, kl="k3", entropy_bonus=0.01)
    samples = [one, two]
    alone = [[t for t in each if t[2]] for each in samples]
    found = []
    for each, batch in (
        (samples, batch_of(samples, drawn_alone=False)),
        (alone, batch_of(samples, drawn_alone=True)),
    ):
        drawn = torch.ones(len(batch.sample)).bool() if batch.drawn is None else batch.drawn
        logprobs = moves(each, batch).requires_grad_()
        entropy = (logprobs * -2).exp()
        reference = torch.where(drawn, -1.2, -50.0)
        outcome = objective(config, batch, logprobs, entropy, reference)
        (gradient,) = torch.autograd.grad(outcome.loss, logprobs)
        statistics = TokenStatistics(config)
        statistics.add(batch, outcome, entropy.detach())
        assert not gradient[~drawn].any()
        found.append((outcome.loss.detach(), gradient[drawn], statistics))
    (loss, gradient, told), (expected, wanted, plain) = found
    assert torch.allclose(loss, expected, atol=1e-6)
    assert torch.allclose(gradient, wanted, atol=1e-6)
    assert told.metrics(ranks) == pytest.approx(plain.metrics(ranks), abs=1e-5)


def test_a_batch_in_which_all_was_drawn_has_no_mask() -> None:
    sample = TrainedSample.of(make_sample(text="abc"), 1.0, 0, is_masked=False, version=0)
    (batch,) = micro_batches(arrange([sample], tokens=100), [1.0], CPU)
    assert batch.drawn is None
    given = replace(make_sample(text="abc"), given=(1,))
    sample = TrainedSample.of(given, 1.0, 0, is_masked=False, version=0)
    (batch,) = micro_batches(arrange([sample], tokens=100), [1.0], CPU)
    assert batch.drawn is not None
    assert batch.drawn.tolist() == [True, False, True]
    assert (sample.drawn, batch.update_tokens) == (2, 2)


def test_what_a_budget_wrote_moves_no_weight(tiny_model: Path, ranks: Ranks) -> None:
    """The log-probability of the engine for a written token is 0: a wrong one would show."""
    rollout = make_rollout(prompts=1, group=4)
    long = [s for s in rollout.samples if len(s.completion_ids) > 2]
    assert long

    def with_given(engine_said: float) -> Any:
        samples = [
            replace(
                s,
                given=(1,) if s in long else (),
                logprobs=tuple(
                    engine_said if i == 1 and s in long else p for i, p in enumerate(s.logprobs)
                ),
            )
            for s in rollout.samples
        ]
        return replace(rollout, samples=tuple(samples))

    found = []
    for each in (with_given(0.0), with_given(-30.0)):
        policy = ZeroPolicy(tiny_config(tiny_model), str(tiny_model), ranks)
        accumulate(policy, each, make_advantages(rollout), ranks)
        found.append(gradients(policy))
    for name, gradient in found[0].items():
        assert gradient.any()
        assert torch.equal(gradient, found[1][name])
