"""Log-probabilities over the tokens that could be drawn, and an update by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from rvpo.rollout import TransformersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.trainer.batch import TrainedSample, arrange, micro_batches
from rvpo.trainer.logprobs import LogprobHead, logprobs_of
from rvpo.trainer.supports import TokenSupports
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Rollout
from tests.configs import tiny_config
from tests.fakes import make_prompt, make_sample
from tests.trainer.test_update import make_advantages

H, V = 5, 11
TEMPERATURE = 0.7
CPU = torch.device("cpu")
supports = st.lists(st.sets(st.integers(0, V - 1), min_size=1), min_size=1, max_size=7)


def of(sets: list[set[int]]) -> TokenSupports:
    flat = [token for each in sets for token in sorted(each)]
    return TokenSupports.of([(flat, [len(each) for each in sets])], CPU)


def by_definition(z: Tensor, tokens: Tensor, sets: list[set[int]]) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of distributions that have no other tokens."""
    logprobs, entropies = [], []
    for row, token, support in zip(z, tokens.tolist(), sets, strict=True):
        left = sorted(support)
        log_p = row[left].log_softmax(-1)
        logprobs.append(log_p[left.index(token)])
        entropies.append(-(log_p.exp() * log_p).sum())
    return torch.stack(logprobs), torch.stack(entropies)


@pytest.mark.parametrize("way", ["chunks", "table"])
@given(supports, st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_values_and_gradients_are_those_of_a_distribution_over_the_support(
    way: str, sets: list[set[int]], chunk: int, seed: int
) -> None:
    found = []
    for ours in (True, False):
        torch.manual_seed(seed)
        layer = nn.Linear(H, V).double()
        hidden = torch.randn(len(sets), H).double().requires_grad_()
        a, b = torch.randn(2, len(sets)).double()
        tokens = torch.tensor([sorted(each)[0] for each in sets])
        if not ours:
            values = by_definition(layer(hidden) / TEMPERATURE, tokens, sets)
        elif way == "chunks":
            values = LogprobHead(layer, TEMPERATURE, chunk)(hidden, tokens, of(sets))
        else:
            values = logprobs_of(layer(hidden) / TEMPERATURE, tokens, of(sets))
        (a * values[0] + b * values[1].square()).sum().backward()
        parts = [hidden.grad, *(p.grad for p in layer.parameters())]
        found.append([*(v.detach() for v in values), *(g for g in parts if g is not None)])
    for ours_, plain in zip(*found, strict=True):
        assert torch.allclose(ours_.double(), plain.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_supports_of_all_tokens_change_nothing(chunk: int) -> None:
    torch.manual_seed(0)
    layer, hidden, tokens = nn.Linear(H, V), torch.randn(8, H), torch.randint(V, (8,))
    head = LogprobHead(layer, 1.0, chunk)
    every = of([set(range(V))] * 8)
    for ours, plain in zip(head(hidden, tokens, every), head(hidden, tokens), strict=True):
        assert torch.equal(ours, plain)


def test_samples_in_any_row_keep_their_own_supports() -> None:
    chance = torch.Generator().manual_seed(0)
    samples = []
    for n in range(7):
        length = int(torch.randint(1, 6, (1,), generator=chance))
        counts = torch.randint(1, 4, (length,), generator=chance).tolist()
        ids = torch.randint(0, V, (sum(counts),), generator=chance).tolist()
        sample = make_sample()
        sample = replace(
            sample,
            completion_ids=tuple(range(n, n + length)),
            logprobs=(-1.0,) * length,
            supports=(ids, counts),
        )
        samples.append(TrainedSample.of(sample, 1.0, group=n // 3, is_masked=False, version=0))
    for is_shared in (True, False):
        rows = arrange(samples, tokens=24, is_shared=is_shared)
        batches = micro_batches(rows, [1.0] * 7, CPU)
        for row, batch in zip(rows, batches, strict=True):
            assert batch.supports is not None
            laid = [sample for part in row for sample in part.samples]
            place = 0
            for sample in laid:
                assert sample.supports is not None
                start, (ids, counts) = 0, sample.supports
                for count in counts:
                    outside = batch.supports.outside(slice(place, place + 1), V)[0]
                    left = set(ids[start : start + count])
                    assert set((~outside).nonzero()[:, 0].tolist()) == left
                    start, place = start + count, place + 1
            assert place == len(batch.completion_ids)


def drawn(model: Path, policy: ZeroPolicy, **limits: float) -> Rollout:
    """Samples of the transformers engine with the policy's weights."""
    engine = TransformersEngine(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=128),
        TransformersConfig(),
        sampling=Sampling(temperature=TEMPERATURE, max_completion_tokens=8, **limits),
    )
    engine.load_weights(policy.weights(), 0)
    return engine.generate([make_prompt(f"p/{n}", "1 + " * n) for n in range(2)], 4, seed=0)


def test_without_a_learning_rate_limits_leave_every_ratio_at_one_and_the_kl_at_zero(
    tiny_model: Path, ranks: Ranks
) -> None:
    config = tiny_config(
        tiny_model,
        rollout={"temperature": TEMPERATURE},
        update={"lr": 0.0, "beta": 0.1, "epochs": 2},
    )
    policy = ZeroPolicy(config, str(tiny_model), ranks)
    for is_packed, limits in (
        (True, {"top_p": 0.9}),
        (False, {"top_p": 0.9, "top_k": 50, "min_p": 0.05}),
    ):
        for scorer in (policy.engine, policy._reference):
            scorer.module.choose(is_packed)
        rollout = drawn(tiny_model, policy, **limits)
        metrics = policy.update(rollout, make_advantages(rollout))
        assert metrics["ratio"] == 1
        assert metrics["kl"] == 0
        for name in ("sampling/raw_ratio", "sampling/importance_sampling_ratio"):
            assert metrics[f"{name}/min"] == pytest.approx(1, abs=1e-4)
            assert metrics[f"{name}/max"] == pytest.approx(1, abs=1e-4)
    # Over all tokens the same samples look as if another policy had drawn them.
    blind = replace(rollout, samples=tuple(replace(s, supports=None) for s in rollout.samples))
    assert policy.update(blind, make_advantages(blind))["sampling/raw_ratio/mean"] < 0.95


def test_a_token_that_was_certain_teaches_nothing(tiny_model: Path, ranks: Ranks) -> None:
    policy = ZeroPolicy(tiny_config(tiny_model, update={"lr": 1e-2}), str(tiny_model), ranks)
    sample = replace(
        make_sample(), completion_ids=(5, 6), logprobs=(0.0, 0.0), supports=([5, 6], [1, 1])
    )
    rollout = Rollout(samples=(sample, sample), group_size=2)
    metrics = policy.update(rollout, make_advantages(rollout))
    assert metrics["grad_norm"] == 0
    assert metrics["entropy"] == 0
