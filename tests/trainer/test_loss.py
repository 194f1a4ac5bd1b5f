"""The losses against loops that write their equations out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Literal, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.corrections import AnyCorrection, MaskOlder, Truncate
from rvpo.corrections.correction import Correction
from rvpo.losses import Loss
from rvpo.losses.cispo import cispo
from rvpo.losses.clipped import clipped
from rvpo.losses.loss import sequence_ratio, token_ratio
from rvpo.losses.weighting import token_weights
from rvpo.trainer.batch import MicroBatch, PackedRow, TrainedSample, arrange, micro_batches
from rvpo.trainer.kl import kl_k1, kl_k2, kl_k3
from rvpo.trainer.objective import objective
from tests.trainer.equations import of_importance, of_sample

LONGEST = 9
logprob = st.floats(-8, 0, width=32)
tokens = st.lists(st.tuples(logprob, logprob, st.floats(-3, 3, width=32)), min_size=1, max_size=6)


# --- one token ------------------------------------------------------------------------------------


@given(
    tokens,
    st.sampled_from([(0.2, 0.2), (0.2, 0.28)]),
    st.sampled_from([None, 1.5, 3.0]),
)
def test_the_clipped_surrogate_is_its_equation(
    rows: list[tuple[float, float, float]], epsilons: tuple[float, float], c: float | None
) -> None:
    new, old, advantages = (torch.tensor(column) for column in zip(*rows, strict=True))
    result = clipped(token_ratio(new, old), advantages, *epsilons, c)
    low, high = epsilons
    for i, (n, o, a) in enumerate(rows):
        ratio = math.exp(n - o)
        expected = -min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)
        if c is not None and a < 0:
            expected = min(expected, -c * a)
        assert float(result.loss[i]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_clipped_token_has_no_gradient() -> None:
    new = torch.tensor([math.log(2.0), math.log(0.5), math.log(2.0)], requires_grad=True)
    ratio = token_ratio(new, torch.zeros(3))
    result = clipped(ratio, torch.tensor([1.0, -1.0, -1.0]), 0.2, 0.2)
    result.loss.sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == [0.0, 0.0, pytest.approx(2.0)]
    assert result.clipped_high.tolist() == [True, False, False]
    assert result.clipped_low.tolist() == [False, True, False]


def test_dual_clip_stops_what_the_clip_lets_through() -> None:
    new = torch.tensor([math.log(10.0)], requires_grad=True)
    loss = clipped(token_ratio(new, torch.zeros(1)), torch.tensor([-1.0]), 0.2, 0.2, 3.0).loss
    loss.sum().backward()
    assert (float(loss.detach()), new.grad) == (3.0, torch.zeros(1))


def test_cispo_gives_every_token_a_gradient_and_bounds_it() -> None:
    new = torch.tensor([math.log(10.0), math.log(0.1)], requires_grad=True)
    cispo(
        new, token_ratio(new, torch.zeros(2)), torch.tensor([1.0, -1.0]), 5.0
    ).loss.sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == [pytest.approx(-5.0), pytest.approx(0.1)]


def test_the_ratio_of_a_sample_is_the_geometric_mean_of_its_tokens() -> None:
    new, old = torch.tensor([2.0, 8.0, 3.0]).log(), torch.zeros(3)
    ratio = sequence_ratio(new, old, torch.tensor([0, 0, 1]), torch.tensor([2, 1]))
    assert ratio.tolist() == pytest.approx([4, 4, 3])


@given(logprob, logprob)
def test_k3_is_its_equation_and_never_negative(policy: float, reference: float) -> None:
    value = float(kl_k3(torch.tensor(policy).double(), torch.tensor(reference).double()))
    d = reference - policy
    assert value == pytest.approx(math.exp(d) - d - 1, rel=1e-9, abs=1e-12)
    assert value >= -1e-15  # an ulp


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3])
def test_k1_and_k3_average_to_the_kl_divergence(estimator: Any) -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    expected = float((p * (p.log() - q.log())).sum())
    assert float((p * estimator(p.log(), q.log())).sum()) == pytest.approx(expected)


def test_the_gradient_of_k2_averages_to_that_of_the_kl_divergence() -> None:
    logits, q = torch.tensor([0.5, -0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    direct, estimated = (logits.clone().requires_grad_() for _ in "ab")
    log_p = direct.log_softmax(0)
    (log_p.exp() * (log_p - q.log())).sum().backward()
    log_p = estimated.log_softmax(0)
    (log_p.exp().detach() * kl_k2(log_p, q.log())).sum().backward()
    assert torch.allclose(direct.grad, estimated.grad)  # type: ignore[arg-type]


def test_k3_times_the_ratio_has_the_gradient_of_the_kl_divergence_from_any_samples() -> None:
    old, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    logits = torch.tensor([0.5, -0.3, 0.2]).double()
    direct, estimated = (logits.clone().requires_grad_() for _ in "ab")
    log_p = direct.log_softmax(0)
    (log_p.exp() * (log_p - q.log())).sum().backward()
    log_p = estimated.log_softmax(0)
    (old * token_ratio(log_p, old.log()) * kl_k3(log_p, q.log())).sum().backward()
    assert torch.allclose(direct.grad, estimated.grad)  # type: ignore[arg-type]


def test_the_gradient_of_k3_averages_to_that_of_the_other_divergence() -> None:
    logits, q = torch.tensor([0.5, -0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    direct, estimated = (logits.clone().requires_grad_() for _ in "ab")
    (q * (q.log() - direct.log_softmax(0))).sum().backward()
    log_p = estimated.log_softmax(0)
    (log_p.exp().detach() * kl_k3(log_p, q.log())).sum().backward()
    assert torch.allclose(direct.grad, estimated.grad)  # type: ignore[arg-type]


# --- importance weights ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("token_truncate", [2, 0.25, 2, 1]),
        ("token_mask", [0, 0, 2, 1]),
        ("sequence_truncate", [1, 1, 2, 2]),
        ("sequence_mask", [1, 1, 2, 2]),
        ({"name": "mask_above", "cap": 2.0}, [0, 0.25, 2, 1]),
        ({"name": "mask_above", "level": "sequence", "cap": 1.5}, [1, 1, 0, 0]),
    ],
)
def test_importance_weights_are_truncated_or_masked_by_token_or_sample(
    correction: Any, expected: list[float]
) -> None:
    old = torch.tensor([4.0, 0.25, 2.0, 1.0]).log()
    sample = torch.tensor([0, 0, 1, 1])
    config = UpdateConfig.model_validate({"correction": correction})
    weights = config.correction(old, torch.zeros(4), sample, 2)
    assert weights.tolist() == pytest.approx(expected)


aged = st.lists(st.tuples(st.floats(-3, 3), st.integers(0, 5)), min_size=1, max_size=8)


@pytest.mark.parametrize("kind", get_args(AnyCorrection))
@given(aged, st.integers(0, 5))
def test_ages_matter_to_the_correction_that_masks_them_alone(
    kind: type[Correction], tokens: list[tuple[float, int]], updates: int
) -> None:
    """Each token's weight is its own: what sampled the others changes nothing about it."""
    correction = MaskOlder(updates=updates) if kind is MaskOlder else kind()
    old = torch.tensor([log_w for log_w, _ in tokens])
    ages = torch.tensor([age for _, age in tokens])
    sample = torch.zeros(len(tokens), dtype=torch.int64)
    ageless = correction(old, torch.zeros_like(old), sample, 1)
    found = correction(old, torch.zeros_like(old), sample, 1, ages)
    counted = ages <= updates if kind is MaskOlder else torch.ones_like(ages, dtype=torch.bool)
    assert torch.equal(found, ageless * counted)


def test_the_gradient_of_a_sample_of_several_policies_averages_to_that_of_the_policy() -> None:
    """Two tokens, the second of newer weights, whose sampling depends on the first: weighed token
    by token against the policy that sampled each, the gradient is that of tokens from π after
    prefixes from μ_1, as with a single older policy.

        Σ_a μ_1(a_1) μ_2(a_2|a_1) Σ_t w_t A_t ∇log π(a_t|a_<t),    w_t = π(a_t|a_<t) / μ_t(a_t|a_<t)
    """
    torch.manual_seed(0)
    first, second = (torch.randn(3, dtype=torch.float64).requires_grad_() for _ in "ab")
    older, newer = torch.randn(3).double().softmax(0), torch.randn(3, 3).double().softmax(1)
    reward = torch.randn(3, 3, dtype=torch.float64)

    def of_policy() -> tuple[Tensor, Tensor]:
        return first.log_softmax(0), (second + torch.arange(9).view(3, 3) / 9).log_softmax(1)

    one, two = of_policy()
    value = two.exp() * reward  # of the second token's choice, after each first one
    wanted = (one.exp() * (newer * reward).sum(1)).sum() + (older * value.sum(1)).sum()
    direct = torch.autograd.grad(wanted, [first, second])

    one, two = of_policy()
    correction, total = Truncate(cap=1e9), torch.zeros((), dtype=torch.float64)
    for a, b in product(range(3), repeat=2):
        logprobs = torch.stack([one[a], two[a, b]])
        sampled = torch.stack([older[a].log(), newer[a, b].log()])
        sample, ages = torch.zeros(2, dtype=torch.int64), torch.tensor([2, 1])
        w = correction(logprobs.detach(), sampled, sample, 1, ages)
        total = total + older[a] * newer[a, b] * reward[a, b] * (w * logprobs).sum()
    estimated = torch.autograd.grad(total, [first, second])
    for ours, plain in zip(estimated, direct, strict=True):
        assert torch.allclose(ours, plain)


# --- the whole objective --------------------------------------------------------------------------


def make_samples(chance: random.Random) -> list[TrainedSample]:
    samples, ages = [], random.Random(0)
    for group in range(3):
        for _ in range(4):
            length = chance.randint(1, LONGEST)
            samples.append(
                TrainedSample(
                    prompt_id=str(group),
                    prompt_ids=(group, group),
                    completion_ids=tuple(chance.randrange(9) for _ in range(length)),
                    sampled_logprobs=tuple(chance.uniform(-3, 0) for _ in range(length)),
                    advantage=chance.gauss(0, 1),
                    ages=sorted((ages.randrange(4) for _ in range(length)), reverse=True),
                )
            )
    return samples


def laid_out(rows: Sequence[PackedRow], loss: Loss) -> list[MicroBatch]:
    places = [(n, s) for n, row in enumerate(rows) for part in row for s in part.samples]
    lengths = [s.length for _, s in places]
    weights = token_weights(loss.weighting, lengths, [n for n, _ in places], LONGEST)
    return micro_batches(rows, weights, torch.device("cpu"))


def loop(
    config: UpdateConfig,
    rows: Sequence[Sequence[TrainedSample]],
    new: dict[int, Tensor],
    old: dict[int, Tensor],
    reference: dict[int, Tensor],
    entropy: dict[int, Tensor],
) -> Tensor:
    """The loss of a step, one sample and one token after the other; tensors by id of the sample."""
    total = torch.zeros(())
    every = [sample for row in rows for sample in row]
    tokens = sum(sample.length for sample in every)
    for row in rows:
        for s in row:
            n, o = new[id(s)], old[id(s)]
            w = of_importance(config, s, o)
            losses = of_sample(config.loss, s.advantage, n, o, w)
            share = {
                **dict.fromkeys(("dapo", "cispo", "vespo"), tokens),
                **dict.fromkeys(("grpo", "gspo", "sapo"), len(every) * s.length),
                "luspo": len(every),
                "dr_grpo": len(every) * LONGEST,
                "bnpo": len(rows) * sum(x.length for x in row),
            }[config.loss.name]
            for t in range(s.length):
                loss = losses[t]
                if config.beta:
                    ratio = torch.exp(n[t] - o[t])
                    if config.loss.clips == "samples":
                        among = w > 0 if w.any() else w == 0
                        ratio = torch.exp((n - o)[among].mean())
                    d = reference[id(s)][t] - n[t]
                    k3 = torch.exp(d) - d - 1
                    estimates = {"k1": -d, "k2": d**2 / 2, "k3": k3, "ratio_k3": ratio * k3}
                    loss = loss + config.beta * estimates[config.kl]
                bonus = config.entropy_bonus * entropy[id(s)][t]
                total = total + loss / share - bonus / tokens
    return total


SETTINGS: list[dict[str, Any]] = [
    *({"loss": name} for name in ("dapo", "grpo", "bnpo", "dr_grpo", "gspo")),
    {"loss": "cispo", "epsilon_high": 1.5},
    {"loss": "dapo", "epsilon_high": 0.28, "dual_clip": 1.6},
    *({"beta": 0.3, "kl": kl} for kl in ("k1", "k2", "k3", "ratio_k3")),
    {"loss": "gspo", "beta": 0.3, "kl": "ratio_k3", "epsilon": 0.05},
    {"loss": "cispo", "beta": 0.3, "kl": "ratio_k3", "epsilon_high": 1.5},
    *({"loss": name, "entropy_bonus": 0.3} for name in ("dapo", "grpo", "bnpo", "dr_grpo")),
    {"loss": "gspo", "beta": 0.1, "entropy_bonus": 0.2, "epsilon": 0.05, "epsilon_high": 0.1},
    *(
        {"correction": name, "correction_cap": 1.5}
        for name in ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
    ),
    *(
        {"correction": name, "correction_cap": 3.0, "correction_floor": floor}
        for name in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
        for floor in (0.0, 0.8)
    ),
    {"correction": {"name": "mask_above", "level": "sequence", "cap": 1.5}},
    {"correction": "mask_older"},
    {"correction": {"name": "mask_older", "updates": 2, "level": "sequence", "cap": 1.5}},
    {"loss": "gspo", "correction": {"name": "mask_older", "updates": 0}},
    *({"loss": name} for name in ("luspo", "sapo", "vespo")),
    {"loss": {"name": "luspo", "epsilon": 0.05, "epsilon_high": 0.1}},
    {"loss": {"name": "sapo", "temperature": 0.7, "temperature_negative": 2.0}},
    {"loss": "vespo", "correction": {"name": "mask", "cap": 1.5}},
    *(
        {"loss": name, "correction": {"name": "mask_older", "updates": 1}}
        for name in ("vespo", "luspo")
    ),
    {"loss": "vespo", "correction": {"name": "mask_above", "cap": 1.5}},
    {"loss": "gspo", "correction": {"name": "mask", "cap": 1.5}, "beta": 0.2, "kl": "ratio_k3"},
    {"loss": "gspo", "correction": "sequence_mask", "beta": 0.2, "kl": "ratio_k3"},
    {"loss": {"name": "vespo", "k": 1.2, "decay": 0.8}, "correction": "none"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("on_policy", [True, False])
def test_every_objective_is_its_loop(settings: dict[str, Any], on_policy: bool) -> None:
    chance = random.Random(str(settings))
    config = UpdateConfig.model_validate(settings)
    rows = arrange(make_samples(chance), tokens=24)
    order = [[s for part in row for s in part.samples] for row in rows]

    def draw(scale: float) -> dict[int, Tensor]:
        return {
            id(s): torch.tensor([chance.gauss(-1.5, scale) for _ in range(s.length)])
            for row in order
            for s in row
        }

    new = {key: value.requires_grad_() for key, value in draw(0.4).items()}
    old = {key: value.detach() for key, value in new.items()} if on_policy else draw(0.4)
    reference, entropy = draw(0.4), {k: v.requires_grad_() for k, v in draw(0.1).items()}
    expected = loop(config, order, new, old, reference, entropy)
    leaves = [*new.values(), *entropy.values()]
    wanted = torch.autograd.grad(expected, leaves, allow_unused=True)

    def of(values: dict[int, Tensor], row: Sequence[TrainedSample]) -> Tensor:
        return torch.cat([values[id(s)] for s in row])

    total = torch.zeros(())
    for row, batch in zip(order, laid_out(rows, config.loss), strict=True):
        if not on_policy:
            batch = replace(batch, old_logprobs=of(old, row))
        kl_to = of(reference, row) if config.beta else None
        total = total + objective(config, batch, of(new, row), of(entropy, row), kl_to).loss
    found = torch.autograd.grad(total, leaves, allow_unused=True)
    assert len(rows) > 1
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-6)
    for ours, plain in zip(found, wanted, strict=True):
        a = torch.zeros(1) if ours is None else ours
        b = torch.zeros(1) if plain is None else plain
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_ratio_beyond_measure_has_a_gradient_of_zero_and_no_nan() -> None:
    new = torch.tensor([0.0, -200.0, 100.0], requires_grad=True)
    ratio = token_ratio(new, torch.tensor([-200.0, 0.0, 0.0]))
    surrogate = clipped(ratio, torch.tensor([1.0, -1.0, 0.0]), 0.2, 0.2, None)
    surrogate.loss.sum().backward()
    assert torch.isfinite(surrogate.loss).all()
    assert new.grad is not None
    assert new.grad.tolist() == [0, 0, 0]


class Halves(Correction):
    """A correction with nothing but an equation."""

    name: Literal["halves"] = "halves"

    def factors(self, w: torch.Tensor) -> torch.Tensor:
        return w / 2


def test_a_correction_needs_no_more_than_its_equation() -> None:
    w = torch.tensor([1.0, 4.0])
    found = Halves()(w.log(), torch.zeros(2), torch.tensor([0, 0]), 1)
    assert found.tolist() == pytest.approx([0.5, 2.0])
