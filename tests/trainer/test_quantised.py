"""Adapters are trained beside a base model whose linear layers have weights of 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from rvpo.commands.needs import of_training
from rvpo.config.model import ModelConfig
from rvpo.runtime.extras import MODULES, Need, installed
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.adapters import original_name
from rvpo.trainer.export import export_model
from rvpo.trainer.scorer import score_without_gradient
from rvpo.trainer.throughput import multiplied_parameters
from rvpo.trainer.zero import GatheredWeights, load_model
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.gradients import accumulate
from tests.trainer.test_lora import adapter_gradients, plain_peft, step
from tests.trainer.test_update import (
    TEMPERATURE,
    make_advantages,
    make_rollout,
    plain_gradients,
    plain_model,
    relative_difference,
    trained,
)

pytestmark = pytest.mark.skipif(not installed("bitsandbytes"), reason="needs bitsandbytes")


def settings(model: Path, precision: str = "fp32", **lora: Any) -> Any:
    return tiny_config(
        model,
        update={"epsilon_high": 0.3, "micro_batch_tokens": 60, "lr": 1e-2, "beta": 0.3},
        model={
            "precision": precision,
            "lora": {"rank": 4, "alpha": 8, **lora},
            "base_bits": 4,
        },
        rollout={"temperature": TEMPERATURE},
    )


def make_policy(model: Path, ranks: Ranks, precision: str = "fp32", **lora: Any) -> ZeroPolicy:
    return ZeroPolicy(settings(model, precision, **lora), str(model), ranks)


def base_of(policy: ZeroPolicy) -> dict[str, torch.Tensor]:
    """The weights that stay, unpacked."""
    named = GatheredWeights(policy.model)
    return {original_name(name): weight for name, weight in named if "lora_" not in name}


def test_a_step_is_that_of_adapters_beside_the_unpacked_weights(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks)
    step(policy)  # so that B is not 0
    unpacked = plain_model(tiny_model)
    unpacked.load_state_dict(base_of(policy))
    unpacked.save_pretrained(tmp_path / "unpacked")
    rollout = make_rollout(1)
    advantages = make_advantages(rollout)
    adapters = dict(policy.weights())
    accumulate(policy, rollout, advantages, ranks)
    found = adapter_gradients(policy)
    model = plain_peft(tmp_path / "unpacked", adapters)
    expected = plain_gradients(model, model, unpacked, *trained(rollout, advantages), 0.3)
    expected = {
        n.removeprefix("base_model.model."): g for n, g in expected.items() if g is not None
    }
    assert relative_difference(found, expected) < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_linear_layers_are_rounded_to_4_bits_and_nothing_else_is(
    tiny_model: Path, ranks: Ranks, precision: str
) -> None:
    policy = make_policy(tiny_model, ranks, precision)
    dtype = policy.model.dtype
    initial = {name: t.to(dtype) for name, t in plain_model(tiny_model).state_dict().items()}
    found = base_of(policy)
    assert found.keys() == initial.keys()
    packed = 0
    for name, weight in found.items():
        assert weight.dtype == dtype
        if name.endswith("proj.weight"):
            error = (weight - initial[name]).float().norm() / initial[name].float().norm()
            assert 0.01 < error < 0.15
            blocks = weight.float().reshape(-1, 64)
            assert max(len(block.unique()) for block in blocks) <= 16
            packed += weight.numel()
        else:
            assert torch.equal(weight, initial[name])
    kept = sum(
        p.ds_numel * p.element_size()
        for name, p in policy.model.named_parameters()
        if name.endswith("proj.base_layer.weight")
    )
    assert kept == packed / 2


def test_the_work_of_an_update_is_that_of_the_unpacked_weights(
    tiny_model: Path, ranks: Ranks
) -> None:
    model = load_model(settings(tiny_model), str(tiny_model))
    assert multiplied_parameters(model) == multiplied_parameters(plain_model(tiny_model))


def test_a_run_beside_4_bits_goes_on_to_the_bit_from_adapters_alone(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    first, second = (make_policy(tiny_model, ranks, "bf16") for _ in range(2))
    rows = [step(first, 0)]
    first.save(tmp_path)
    second.load(tmp_path)
    rows += [step(first, 1)]
    assert step(second, 1) == rows[1]
    before, after = dict(first.weights()), dict(second.weights())
    assert all(torch.equal(before[name], after[name]) for name in before)
    path = tmp_path / "zero3/zero_pp_rank_0_mp_rank_00_model_states.pt"
    module = torch.load(path, weights_only=False)["module"]
    assert [n for n, t in module.items() if t.numel() and "lora_" not in n] == []


def test_the_saved_model_is_what_was_trained(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, sync="merged")
    step(policy)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    base = ModelConfig.model_validate(
        {"path": str(tiny_model), "lora": {"rank": 4, "alpha": 8}, "base_bits": 4}
    )
    export_model(policy, tokenizer, tmp_path / "model", ranks, base)
    saved = plain_model(tmp_path / "model")
    for name, weight in policy.weights():
        assert torch.equal(saved.state_dict()[name], weight)
    rollout = make_rollout()
    ((batch, *_),) = policy.mini_batches(rollout, make_advantages(rollout))
    own = score_without_gradient(policy.engine, batch)
    full = ZeroPolicy(
        tiny_config(tmp_path / "model", rollout={"temperature": TEMPERATURE}),
        str(tmp_path / "model"),
        ranks,
    )
    torch.testing.assert_close(own, score_without_gradient(full.engine, batch), atol=1e-4, rtol=0)


def test_bits_are_for_a_base_that_stays(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=r"write model\.lora too, such as"):
        ModelConfig(path="m", base_bits=4)
    with pytest.raises(ValueError, match="base_bits"):
        ModelConfig.model_validate({"path": "m", "lora": {}, "base_bits": 8})
    need = Need("bits", "leave model.base_bits out")
    assert need in list(of_training(settings(tiny_model)))
    assert MODULES["bits"] == ("bitsandbytes",)
