"""Fused kernels, played by functions of this file: taken where they give what the model gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from transformers.models.llama import modeling_llama

from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.kernels import check_kernels, choose_kernels
from rvpo.trainer.packing import Yardstick, score_alone, yardstick
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config

ROTARY = modeling_llama.apply_rotary_pos_emb


def make_policy(model: Path, ranks: Ranks) -> ZeroPolicy:
    return ZeroPolicy(tiny_config(model, update={"beta": 0.1}), str(model), ranks)


@pytest.fixture(scope="module")
def policy(tiny_model: Path, ranks: Ranks) -> ZeroPolicy:
    return make_policy(tiny_model, ranks)


@pytest.fixture
def expected(policy: ZeroPolicy, ranks: Ranks) -> Yardstick:
    return yardstick(policy.engine, ranks)


def norms(scale: float) -> Callable[[Any], None]:
    """Replaces the norms of a model, and its rotary positions by the same under another name."""

    def forward(self: Any, hidden: Tensor) -> Tensor:
        variance = hidden.float().pow(2).mean(-1, keepdim=True)
        return scale * self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)

    def rotary(*args: Any, **options: Any) -> Any:
        return ROTARY(*args, **options)

    def patch(model: Any) -> None:
        modeling_llama.apply_rotary_pos_emb = rotary
        for module in model.modules():
            if isinstance(module, modeling_llama.LlamaRMSNorm):
                module.forward = MethodType(forward, module)

    return patch


def raises(model: Any) -> None:
    norms(2.0)(model)
    raise ImportError("cannot import name 'Qwen9'")


def choose(
    policy: ZeroPolicy, ranks: Ranks, expected: Yardstick, patch: Callable[[Any], None]
) -> str:
    engines = [policy.engine, policy._reference]
    return choose_kernels(UpdateConfig(), engines, ranks, expected, installed=True, patch=patch)


def patched(policy: ZeroPolicy) -> list[bool]:
    models = (policy.model, policy._reference.module.model)
    return ["forward" in vars(model.model.norm) for model in models]


def test_kernels_that_give_the_models_own_numbers_are_taken_under_zero3(
    tiny_model: Path, ranks: Ranks, expected: Yardstick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", ROTARY)  # and again at the end
    policy = make_policy(tiny_model, ranks)
    assert choose(policy, ranks, expected, norms(1.0)) == "liger's kernels"
    assert patched(policy) == [True, True]
    assert expected.distance(score_alone(policy.engine, ranks)) < 1e-4


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (norms(2.0), "log-probabilities would be off by "),
        (raises, "ImportError: cannot import name 'Qwen9'"),
        (lambda model: None, "it has none for this model"),
    ],
)
def test_kernels_that_cannot_be_trusted_are_taken_out_again_and_that_is_said(
    policy: ZeroPolicy,
    ranks: Ranks,
    expected: Yardstick,
    patch: Callable[[Any], None],
    reason: str,
) -> None:
    said = choose(policy, ranks, expected, patch)
    assert said.startswith(f"transformers' own layers, not liger's: {reason}")
    assert patched(policy) == [False, False]
    assert modeling_llama.apply_rotary_pos_emb is ROTARY
    assert torch.equal(score_alone(policy.engine, ranks), expected.logprobs)


def test_no_kernels_are_tried_where_none_are_wanted_or_to_be_had(
    ranks: Ranks, expected: Yardstick
) -> None:
    plain, auto = UpdateConfig(kernels="plain"), UpdateConfig()
    options: dict[str, Any] = {"ranks": ranks, "expected": expected, "patch": raises}
    assert choose_kernels(plain, [], installed=True, **options) == "transformers' own layers"
    assert choose_kernels(auto, [], **options) == "transformers' own layers"  # of a CPU
    said = choose_kernels(auto, [], installed=False, **options)
    assert said == (
        "transformers' own layers, liger-kernel is not installed: pip install liger-kernel"
    )


def test_kernels_that_are_asked_for_by_name_and_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"update\.kernels: liger's kernels are for GPUs"):
        check_kernels(UpdateConfig(kernels="liger"), on_gpu=False)
    with pytest.raises(ConfigError, match="pip install liger-kernel, or write"):
        check_kernels(UpdateConfig(kernels="liger"), on_gpu=True)
    check_kernels(UpdateConfig(), on_gpu=False)
    check_kernels(UpdateConfig(kernels="plain"), on_gpu=True)


def test_a_rank_that_is_lost_in_the_trial_is_no_fault_of_the_kernels(
    tiny_model: Path, ranks: Ranks, expected: Yardstick
) -> None:
    def lost(self: Any, hidden: Tensor) -> Tensor:
        raise dist.DistNetworkError("Connection reset by peer")

    def patch(model: Any) -> None:
        model.model.norm.forward = MethodType(lost, model.model.norm)

    with pytest.raises(dist.DistNetworkError):
        choose(make_policy(tiny_model, ranks), ranks, expected, patch)
