"""Tokens that a correction masks: left out, of what their samples learn too."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rvpo.corrections import Mask, MaskAbove, MaskOlder, Truncate
from rvpo.corrections.correction import Correction, Level
from rvpo.losses import Loss, LossInputs, PolicyLoss
from tests.trainer.equations import of_sample

MASKS = [
    *(kind(level=level) for kind in (Mask, MaskAbove) for level in get_args(Level)),
    *(MaskOlder(updates=1, level=level) for level in get_args(Level)),
]
masked_tokens = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-1.5, 1.5), st.integers(0, 3)), min_size=1, max_size=5
)


@pytest.mark.parametrize("kind", get_args(PolicyLoss))
@pytest.mark.parametrize("mask", MASKS, ids=str)
@given(sample=masked_tokens, other=masked_tokens, advantage=st.sampled_from([1.5, -1.5]))
@settings(max_examples=15)
def test_a_sample_learns_as_if_it_had_no_masked_token(
    kind: type[Loss],
    mask: Correction,
    sample: list[tuple[float, float, int]],
    other: list[tuple[float, float, int]],
    advantage: float,
) -> None:
    loss = kind()
    if loss.problem(mask):
        return
    both, lengths = [*sample, *other], torch.tensor([len(sample), len(other)])
    ages = torch.tensor([age for *_, age in both])
    move, drift = (torch.tensor([x[i] for x in both], dtype=torch.float64) for i in (0, 1))
    old = torch.full_like(move, -1.0)
    new = (old + 0.1 * move).requires_grad_()
    of = torch.arange(2).repeat_interleave(lengths)
    corrected = mask.correct(old, old - drift, of, 2, ages)
    inputs = LossInputs(
        logprobs=new,
        old_logprobs=old,
        advantages=torch.full_like(old, advantage),
        importance=corrected.factors,
        sample=of,
        lengths=lengths,
        counted=corrected.counted,
    )
    found = loss(inputs).loss * (1 if loss.corrects else corrected.factors)
    (ours,) = torch.autograd.grad(found.sum(), new)
    assert not ours[~kept_by_hand(mask, drift, ages, lengths)].any()
    expected = sum(
        sum(of_sample(loss, advantage, *parts))
        for parts in zip(
            *(x.split(lengths.tolist()) for x in (new, old, corrected.factors)), strict=True
        )
    )
    (wanted,) = torch.autograd.grad(expected + 0 * new.sum(), new)
    assert torch.allclose(ours, wanted)


def kept_by_hand(mask: Correction, drift: Tensor, ages: Tensor, lengths: Tensor) -> Tensor:
    """[T] bool, the tokens that the equation of a mask keeps."""
    if isinstance(mask, MaskOlder):
        return ages <= mask.updates
    if mask.corrected == "sequence":
        drift = torch.cat([x.sum().expand(len(x)) for x in drift.split(lengths.tolist())])
    assert isinstance(mask, Mask | MaskAbove)
    large = drift.exp() > mask.cap
    return ~large if isinstance(mask, MaskAbove) else ~large & (drift.exp() >= 1 / mask.cap)


@pytest.mark.parametrize("kind", get_args(PolicyLoss))
def test_what_no_mask_leaves_out_is_the_same_to_the_bit(kind: type[Loss]) -> None:
    torch.manual_seed(0)
    new, old = torch.randn(9).requires_grad_(), torch.randn(9)
    of, lengths = torch.tensor([0] * 4 + [1] * 5), torch.tensor([4, 5])
    plain = LossInputs(
        logprobs=new,
        old_logprobs=old,
        advantages=torch.randn(9),
        importance=torch.rand(9),
        sample=of,
        lengths=lengths,
    )
    one, two = (kind()(x).loss for x in (plain, replace(plain, counted=torch.ones(9).bool())))
    gradients = [torch.autograd.grad(loss.sum(), new)[0] for loss in (one, two)]
    assert torch.equal(one, two)
    assert torch.equal(*gradients)


def test_a_weight_of_zero_that_no_mask_made_still_weighs_a_sample() -> None:
    """A weight may underflow, and then it is small, not left out."""
    correction, ages = Truncate(), torch.zeros(2, dtype=torch.int64)
    drift = torch.tensor([-200.0, 0.0])
    found = correction.correct(drift, torch.zeros(2), ages, 1, ages)
    assert found.factors.tolist() == [0, 1]
    assert found.counted.tolist() == [True, True]
