"""Memory by part, from shapes and settings alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.memory import (
    GIB,
    Place,
    checkpoint_bytes,
    cures,
    engine_load,
    engine_memory,
    host_memory,
    memory,
)
from rvpo.plan.shape import ModelShape, is_on_hub, published_shape, read_shape
from rvpo.rollout import VllmConfig
from rvpo.rollout.vllm.memory import enough_share, kv_tokens
from tests.configs import tiny_config

GPU = 80 * GIB
PLACE = Place(ranks=8, prompt_tokens=500, device=GPU)


def shape(name: str = "Qwen/Qwen2.5-7B-Instruct") -> ModelShape:
    found = published_shape(name)
    assert found is not None
    return found


def config(engine: dict[str, Any] | None = None, **update: Any) -> RunConfig:
    rollout = {
        "engine": {"name": "vllm", "gpu_memory": 0.5, "max_context_tokens": 3584} | (engine or {}),
        "prompts_per_step": 96,
        "max_completion_tokens": 1000,
    }
    return tiny_config(Path("unused"), model={"precision": "bf16"}, rollout=rollout, update=update)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", 1.54),
        ("Qwen/Qwen2.5-3B", 3.09),
        ("models/qwen2.5-7b-instruct/", 7.62),
        ("Qwen/Qwen2.5-14B-Instruct", 14.77),
    ],
)
def test_published_shapes_have_the_published_sizes(name: str, billions: float) -> None:
    assert round(shape(name).parameters / 1e9, 2) == billions


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-72B", "Qwen/Qwen3-14B", "Qwen2.5-7B-Chat"])
def test_another_models_size_is_not_guessed(name: str) -> None:
    assert published_shape(name) is None


def test_a_shape_is_read_from_the_models_own_settings(tiny_model: Path) -> None:
    found = read_shape(str(tiny_model))
    assert (found.layers, found.hidden, found.intermediate, found.kv) == (2, 64, 128, 32)
    from safetensors import safe_open

    with safe_open(tiny_model / "model.safetensors", "pt") as weights:  # tied weights once
        sizes = [weights.get_tensor(name).numel() for name in weights.keys()]  # noqa: SIM118
    assert (found.parameters, found.largest) == (sum(sizes), max(sizes))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it has no config\.json"):
        read_shape(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot read a causal language model"):
        read_shape(str(tmp_path))
    assert not is_on_hub(str(tmp_path))
    assert is_on_hub("Qwen/Qwen2.5-7B-Instruct")


def test_training_state_is_twenty_bytes_a_parameter_over_all_ranks() -> None:
    parts = memory(config(beta=0.1), shape(), PLACE)
    held = (parts.weights, parts.gradients, parts.optimizer, parts.reference)
    assert [8 * part / shape().parameters for part in held] == [2, 4, 12, 2]


def test_ranks_share_the_state_and_nothing_else() -> None:
    one, eight = (memory(config(), shape(), replace(PLACE, ranks=n)) for n in (1, 8))
    assert one.optimizer == 8 * eight.optimizer
    assert one.logits == eight.logits
    assert one.engine == eight.engine


def test_no_reference_is_held_without_a_kl_loss() -> None:
    assert memory(config(beta=0.0), shape(), PLACE).reference == 0


def test_an_offloaded_optimizer_is_on_the_host() -> None:
    offloaded = config(offload_optimizer=True)
    parts = memory(offloaded, shape(), PLACE)
    assert parts.optimizer == parts.gradients == 0
    moved = host_memory(offloaded, shape(), GPU, 8) - host_memory(config(), shape(), GPU, 8)
    assert moved == 16 * shape().parameters


def test_recomputing_and_smaller_rows_save_activations() -> None:
    full = memory(config(micro_batch_tokens=4096), shape(), PLACE)
    recomputed = memory(config(activation_checkpointing=True), shape(), PLACE)
    smaller = memory(config(micro_batch_tokens=1), shape(), PLACE)
    assert recomputed.activations < full.activations / 10
    assert smaller.activations < full.activations / 2
    assert memory(config(logits_chunk=64), shape(), PLACE).logits < full.logits


def test_vllm_sleeps_while_the_policy_is_updated() -> None:
    parts = memory(config(), shape(), PLACE)
    assert parts.engine == 40 * GIB
    assert parts.resting < 2 * GIB
    on_cpu = memory(config(), shape(), replace(PLACE, device=None))
    assert on_cpu.resting == on_cpu.engine


def test_an_engine_that_works_meanwhile_does_not_sleep() -> None:
    ahead = config()
    ahead = ahead.model_copy(update={"rollout": ahead.rollout.model_copy(update={"staleness": 1})})
    parts = memory(ahead, shape(), PLACE)
    assert parts.engine == parts.resting == 40 * GIB
    assert host_memory(ahead, shape(), GPU, 8) == 0


def test_engines_on_gpus_of_their_own_take_nothing_from_training() -> None:
    parts = memory(config({"devices": list(range(8, 16))}), shape(), PLACE)
    assert parts.engine == parts.resting == 0


def test_a_judge_on_the_same_gpu_counts_at_all_times() -> None:
    alone, beside = (memory(config(), shape(), replace(PLACE, judge=j)) for j in (0.0, 8 * GIB))
    assert beside.update - alone.update == beside.rollout - alone.rollout == 8 * GIB


def engine_of(run: RunConfig) -> VllmConfig:
    assert isinstance(run.rollout.engine, VllmConfig)
    return run.rollout.engine


def fits(run: RunConfig, device: float) -> bool:
    (room,) = engine_memory(run, shape(), device).rooms
    return room.fits


def test_the_kv_cache_has_what_the_weights_leave() -> None:
    tokens = kv_tokens(engine_of(config()), engine_load(config(), shape(), GPU))
    taken = 2 * 2 * 28 * 512 * tokens + 2 * shape().parameters
    assert 37 * GIB < taken < 39 * GIB
    assert fits(config(), 80 * GIB)
    assert not fits(config(), 24 * GIB)


def test_the_share_that_vllm_needs_is_just_enough() -> None:
    small = 24 * GIB
    share = enough_share(engine_of(config()), engine_load(config(), shape(), small), small)
    assert fits(config({"gpu_memory": share + 0.001}), small)
    assert not fits(config({"gpu_memory": share - 0.001}), small)


def test_what_is_said_to_cure_does() -> None:
    tight = Place(ranks=2, prompt_tokens=500, device=80 * GIB)
    broken = config()
    assert memory(broken, shape(), tight).rollout > 80 * GIB
    found = cures(broken, shape(), tight)
    assert found == [
        "update.offload_optimizer=true",
        "4 such GPUs, distributed.processes=4",
    ]
    for changed, place in (
        (config(offload_optimizer=True), tight),
        (broken, replace(tight, ranks=4)),
    ):
        parts = memory(changed, shape(), place)
        assert max(parts.update, parts.rollout) <= 80 * GIB


def test_a_checkpoint_is_what_the_policy_will_say_it_is() -> None:
    assert checkpoint_bytes(config(), shape()) == 14 * shape().parameters
