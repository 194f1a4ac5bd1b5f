"""The losses against loops that write their equations out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.trainer.loss import clipped_surrogate, kl_k3

logprob = st.floats(-8, 0, width=32)
tokens = st.lists(st.tuples(logprob, logprob, st.floats(-3, 3, width=32)), min_size=1, max_size=6)


@given(tokens, st.sampled_from([(0.2, 0.2), (0.2, 0.28)]))
def test_the_clipped_surrogate_is_its_equation(
    rows: list[tuple[float, float, float]], epsilons: tuple[float, float]
) -> None:
    new, old, advantages = (torch.tensor(column) for column in zip(*rows, strict=True))
    result = clipped_surrogate(new, old, advantages, *epsilons)
    low, high = epsilons
    for i, (n, o, a) in enumerate(rows):
        ratio = math.exp(n - o)
        clipped = min(max(ratio, 1 - low), 1 + high)
        assert float(result.loss[i]) == pytest.approx(
            -min(ratio * a, clipped * a), rel=1e-4, abs=1e-6
        )


def test_a_clipped_token_has_no_gradient() -> None:
    new = torch.tensor([math.log(2.0), math.log(0.5), math.log(2.0)], requires_grad=True)
    result = clipped_surrogate(new, torch.zeros(3), torch.tensor([1.0, -1.0, -1.0]), 0.2, 0.2)
    result.loss.sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == [0.0, 0.0, pytest.approx(2.0)]
    assert result.clipped_high.tolist() == [True, False, False]
    assert result.clipped_low.tolist() == [False, True, False]


@given(logprob, logprob)
def test_k3_is_its_equation_and_never_negative(policy: float, reference: float) -> None:
    value = float(kl_k3(torch.tensor(policy).double(), torch.tensor(reference).double()))
    d = reference - policy
    assert value == pytest.approx(math.exp(d) - d - 1, rel=1e-9, abs=1e-12)
    assert value >= 0


def test_k3_averages_to_the_kl_divergence() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    expected = float((p * (p.log() - q.log())).sum())
    assert float((p * kl_k3(p.log(), q.log())).sum()) == pytest.approx(expected)
