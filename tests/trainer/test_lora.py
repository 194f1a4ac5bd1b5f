"""Training of adapters: their gradients, the model without them, and what is saved of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV3Config,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MixtralConfig,
    Phi3Config,
)

from rvpo.config.model import ModelConfig
from rvpo.errors import CheckpointError, ConfigError
from rvpo.report.metrics import entry_of
from rvpo.rollout.adapter import save_adapter
from rvpo.rollout.lora_config import LoraConfig
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.adapters import (
    MergedShare,
    MergedWeights,
    adapted_layers,
    add_adapters,
    rehearse_adapters,
)
from rvpo.trainer.export import export_model
from rvpo.trainer.lora_targets import shortest, target_layers
from rvpo.trainer.reference import reference_logprobs
from rvpo.trainer.scorer import score_without_gradient
from rvpo.trainer.throughput import Work, update_metrics
from rvpo.trainer.zero import GatheredWeights
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Rollout
from tests.configs import tiny_config
from tests.fakes import timeless
from tests.gradients import accumulate
from tests.tiny import save_tiny_model
from tests.trainer.test_multimodal import save_tiny_gemma3
from tests.trainer.test_update import (
    TEMPERATURE,
    make_advantages,
    make_rollout,
    plain_gradients,
    plain_logprobs,
    plain_model,
    relative_difference,
    trained,
)


def make_policy(
    model: Path, ranks: Ranks, *, precision: str = "fp32", update: Any = None, **lora: Any
) -> ZeroPolicy:
    config = tiny_config(
        model,
        update={"epsilon_high": 0.3, "micro_batch_tokens": 60, "lr": 1e-2, **(update or {})},
        model={"precision": precision, "lora": {"rank": 4, "alpha": 8, **lora}},
        rollout={"temperature": TEMPERATURE},
    )
    return ZeroPolicy(config, str(model), ranks)


@pytest.fixture(scope="module")
def moved(tiny_model: Path, ranks: Ranks) -> ZeroPolicy:
    """A policy after an update, in which nothing is to be changed."""
    policy = make_policy(tiny_model, ranks, update={"beta": 0.1})
    assert step(policy)["kl"] == 0.0
    return policy


def step(policy: ZeroPolicy, seed: int = 0) -> dict[str, float]:
    rollout = make_rollout(seed)
    return timeless(policy.update(rollout, make_advantages(rollout)))


def plain_peft(model: Path, adapters: dict[str, Tensor]) -> Any:
    """PEFT's own model with the same adapters."""
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    made = peft.get_peft_model(plain_model(model), settings)
    loaded = peft.set_peft_model_state_dict(made, adapters)
    assert loaded.unexpected_keys == []
    return made


def test_gradients_are_those_of_a_plain_loop_with_the_initial_model_as_reference(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, update={"beta": 0.3, "activation_checkpointing": True})
    step(policy)  # so that B is not 0
    rollout = make_rollout(1)
    advantages = make_advantages(rollout, untrained=(3, 9))
    adapters = dict(policy.weights())
    assert all(bool(tensor.any()) for tensor in adapters.values())
    expected = plain_adapter_gradients(tiny_model, adapters, rollout, advantages, beta=0.3)
    for is_packed in (False, True):
        policy.engine.module.choose(is_packed)
        policy.engine.optimizer.zero_grad()
        accumulate(policy, rollout, advantages, ranks)
        assert relative_difference(adapter_gradients(policy), expected) < 1e-5


def plain_adapter_gradients(
    path: Path,
    adapters: dict[str, Tensor],
    rollout: Rollout,
    advantages: Advantages,
    *,
    beta: float = 0.0,
) -> dict[str, Tensor]:
    """The definition, a sample at a time on PEFT's own model, by the names that we have."""
    model = plain_peft(path, adapters)
    found = plain_gradients(model, model, plain_model(path), *trained(rollout, advantages), beta)
    prefix = "base_model.model."
    return {name.removeprefix(prefix): g for name, g in found.items() if g is not None}


def adapter_gradients(policy: ZeroPolicy) -> dict[str, Tensor]:
    from deepspeed.utils import safe_get_full_grad

    named = policy.model.named_parameters()
    return {name: safe_get_full_grad(p).clone() for name, p in named if p.requires_grad}


def test_the_reference_is_the_model_without_adapters_and_no_second_one(
    moved: ZeroPolicy, tiny_model: Path, ranks: Ranks
) -> None:
    rollout = make_rollout()
    ((batch, *_),) = moved.mini_batches(rollout, make_advantages(rollout))
    (without,) = reference_logprobs(moved.engine, None, [batch])
    config = tiny_config(tiny_model, rollout={"temperature": TEMPERATURE})
    full = ZeroPolicy(config, str(tiny_model), ranks)
    assert torch.equal(without, score_without_gradient(full.engine, batch))
    assert not torch.equal(without, score_without_gradient(moved.engine, batch))
    assert accumulate(moved, rollout, make_advantages(rollout), ranks)["kl"] > 0.0


def test_half_a_run_and_its_resumption_equal_one_run_to_the_bit(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    settings: dict[str, Any] = {"dropout": 0.2, "sync": "merged", "update": {"mini_batches": 2}}
    whole = make_policy(tiny_model, ranks, precision="bf16", **settings)
    rows = []
    for number in range(3):
        torch.rand(number)  # whoever else draws has no part in what is left out
        dict(whole.weights())
        rows.append(step(whole, number))
        if number == 0:
            whole.save(tmp_path)
    rest = make_policy(tiny_model, ranks, precision="bf16", **settings)
    rest.load(tmp_path)
    for number in (1, 2):
        dict(rest.weights())
        assert step(rest, number) == rows[number]
    assert_equal(dict(rest.weights()), dict(whole.weights()))
    assert rows[1]["lora/merged_share"] > rows[0].get("lora/merged_share", 0.0)
    assert entry_of("lora/merged_share")


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_dropout_is_of_the_gradient_alone(tiny_model: Path, ranks: Ranks) -> None:
    """Old log-probabilities are taken without, so that metrics of sampling tell of the engine."""
    plain, dropping = (make_policy(tiny_model, ranks, dropout=p) for p in (0.0, 0.5))
    first = [step(policy) for policy in (plain, dropping)]
    assert first[0]["ratio"] == first[1]["ratio"] == 1.0  # B is 0
    assert first[0]["grad_norm"] != first[1]["grad_norm"]
    ((batch, *_),) = dropping.mini_batches(make_rollout(), make_advantages(make_rollout()))
    scores = [score_without_gradient(dropping.engine, batch) for _ in range(2)]
    assert torch.equal(*scores)
    assert step(dropping)["ratio"] != 1.0


def test_a_checkpoint_holds_adapters_alone_and_of_one_model(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks)
    policy.save(tmp_path / "lora")
    trained_ones = [p.ds_numel for p in policy.model.parameters() if p.requires_grad]
    assert policy.checkpoint_bytes == 16 * sum(trained_ones)
    states = torch.load(
        tmp_path / "lora/zero3/zero_pp_rank_0_mp_rank_00_model_states.pt", weights_only=False
    )
    assert [n for n, t in states["module"].items() if t.numel() and "lora_" not in n] == []
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="holds adapters of a model with other weights"):
        make_policy(other, ranks).load(tmp_path / "lora")
    moved = save_tiny_model(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="holds other weights than this run trains"):
        make_policy(moved, ranks, rank=2, targets="q_proj").load(tmp_path / "lora")


def test_a_model_is_saved_with_what_adapters_add_and_the_adapters_beside_it(
    moved: ZeroPolicy, tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = moved
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    base = ModelConfig(path=str(tiny_model), lora=LoraConfig(rank=4, alpha=8))
    export_model(policy, tokenizer, tmp_path / "model", ranks, base, shard_bytes=100_000)
    initial = plain_model(tiny_model)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.float32
    merged = plain_model(tmp_path / "model")
    adapted = peft.PeftModel.from_pretrained(plain_model(tiny_model), tmp_path / "model/adapter")
    assert adapted.peft_config["default"].base_model_name_or_path == str(tiny_model)
    rollout = make_rollout()
    with torch.no_grad():
        for sample in rollout.samples[:3]:
            one, other = plain_logprobs(merged, sample), plain_logprobs(adapted, sample)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
            assert (one - plain_logprobs(initial, sample)).abs().max() > 1e-3
    saved = load_file(tmp_path / "model/adapter/adapter_model.safetensors")
    assert_equal(saved, dict(policy.weights()))
    names = merged.state_dict().keys()
    changed = {n for n in names if not torch.equal(merged.state_dict()[n], initial.state_dict()[n])}
    assert changed == {f"{path}.weight" for path in adapted_layers(policy.model)}


def test_merged_weights_are_rounded_once_and_have_the_names_and_order_that_they_tell(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, precision="bf16", sync="merged")
    step(policy)
    own = dict(GatheredWeights(policy.model))
    weights = policy.weights()
    layout = weights.layout()
    found = list(weights)
    assert [(name, t.dtype, tuple(t.shape)) for name, t in found] == layout
    plain = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    assert {name: tuple(t.shape) for name, t in plain.items()} == {n: s for n, _, s in layout}
    for path in adapted_layers(policy.model):
        a, b = (own[f"{path}.lora_{part}.default.weight"].float() for part in "AB")
        expected = (own[f"{path}.base_layer.weight"].float() + 2.0 * (b @ a)).bfloat16()
        assert torch.equal(dict(found)[f"{path}.weight"], expected)
    assert isinstance(weights, MergedWeights)
    assert 0 < weights.share.metrics()["lora/merged_share"] < 1.1
    assert MergedShare().metrics() == {}


@given(st.integers(-14, -6), st.integers(0, 9))
def test_the_share_that_is_left_is_that_of_the_update_and_none_of_a_tiny_one(
    power: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(64, 64, generator=generator).bfloat16()
    update = 2.0**power * torch.randn(64, 64, generator=generator)
    share = MergedShare()
    for rows in (slice(0, 20), slice(20, 64)):
        change = (weight[rows].float() + update[rows]).bfloat16().float() - weight[rows].float()
        share.add(update[rows], change)
    whole = (weight.float() + update).bfloat16().float() - weight.float()
    left = float((update * whole).sum() / update.square().sum())
    assert share.metrics()["lora/merged_share"] == pytest.approx(left, rel=1e-5)
    assert left > 0.9 if power > -8 else left < 1.0
    if power == -14:
        assert left < 0.5


SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
LLAMA = LlamaConfig(**SIZES)
MIXTRAL = MixtralConfig(**SIZES, num_local_experts=4)


@pytest.mark.parametrize(
    ("config", "targets", "names"),
    [
        (LLAMA, "all-linear", "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"),
        (LLAMA, ["q_proj", "mlp.up_proj"], "q_proj up_proj"),
        (
            Phi3Config(**SIZES, pad_token_id=0),
            "all-linear",
            "o_proj qkv_proj gate_up_proj down_proj",
        ),
        (MIXTRAL, "all-linear", "q_proj k_proj v_proj o_proj"),
    ],
    ids=["all", "some", "fused", "experts"],
)
def test_targets_are_the_linear_layers_of_such_names(
    config: Any, targets: Any, names: str, tmp_path: Path
) -> None:
    model = on_no_device(config)
    found = target_layers(model, LoraConfig(targets=targets))
    assert set(shortest(found, model)) == set(names.split())
    add_adapters(model, LoraConfig(rank=2, targets=targets), seed=0)
    assert list(adapted_layers(model)) == found


def on_no_device(config: Any) -> Any:
    models: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return models.from_config(config)


@pytest.mark.parametrize(
    ("config", "targets", "words"),
    [
        (LLAMA, ["qproj"], "has no layer 'qproj'; did you mean 'q_proj'? There are q_proj, k_proj"),
        (LLAMA, ["all_linear"], "did you mean 'all-linear'?"),
        (LLAMA, ["q_proj", "lm_head"], "'lm_head' is the output layer"),
        (LLAMA, ["embed_tokens"], "'embed_tokens' is the table of embeddings"),
        (LLAMA, ["self_attn"], "'self_attn' is no linear layer (but a LlamaAttention)"),
        (MIXTRAL, ["down_proj"], "is the experts of a layer in one tensor, model.layers.0.mlp"),
        (MIXTRAL, ["gate"], "'gate' is no linear layer (but a MixtralTopKRouter)"),
        (
            GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2),
            "all-linear",
            "leave model.lora",
        ),
        (
            MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1),
            "all-linear",
            "PEFT refu",
        ),
        (
            DeepseekV3Config(**SIZES, n_routed_experts=4, n_group=1, topk_group=1),
            "all-linear",
            "write model.lora.targets=[q_a_proj, q_b_proj, kv_a_proj_with_mqa, kv_b_proj, o_proj]",
        ),
    ],
)
def test_other_targets_are_refused_before_anything_is_loaded(
    config: Any, targets: Any, words: str, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError) as refusal:
        rehearse_adapters(str(tmp_path), LoraConfig(targets=targets), trust_remote_code=False)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith("model.lora")
    assert "\n" not in str(refusal.value)


def test_the_half_of_a_model_that_sees_gets_no_adapter(tmp_path: Path, ranks: Ranks) -> None:
    folder = save_tiny_gemma3(tmp_path / "gemma")
    policy = make_policy(folder, ranks)
    paths = list(adapted_layers(policy.model))
    assert paths
    assert all("language_model" in path for path in paths)
    assert shortest(paths, policy.model) == sorted(paths)  # both halves have a q_proj
    state = {name: tensor.cpu() for name, tensor in policy.weights()}
    lora, out = LoraConfig(rank=4, alpha=8), tmp_path / "out"
    save_adapter(out, state, lora, str(folder), shortest(paths, policy.model))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded = peft.PeftModel.from_pretrained(model, out)
    assert list(adapted_layers(loaded.base_model.model)) == paths


def test_what_does_not_learn_is_counted_without_a_gradient_of_its_own() -> None:
    work = Work(tokens=10, passes=6, frozen_passes=4, seconds=1.0, peak=1e6, memory=None)
    metrics = update_metrics([work, work], 50, 1_000)
    assert metrics["mfu/update"] == pytest.approx(20 * (50 * 6 + 1_000 * 4) / 2e6)


def test_adapters_are_drawn_from_the_seed_alone(tiny_model: Path) -> None:
    def drawn(seed: int, others: int) -> dict[str, Tensor]:
        model = plain_model(tiny_model)
        torch.rand(others)
        state = torch.get_rng_state()
        add_adapters(model, LoraConfig(), seed)
        assert torch.equal(torch.get_rng_state(), state)
        return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

    first = drawn(0, 0)
    assert_equal(first, drawn(0, 5))
    other = drawn(1, 0)
    equal: Sequence[str] = [name for name in first if torch.equal(first[name], other[name])]
    assert all(".lora_B." in name for name in equal)
    assert len(equal) == len(first) // 2
