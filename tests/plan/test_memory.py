"""Memory by part, from shapes and settings alone."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.deepspeed import DEEPSPEED_OPTIONS
from rvpo.config.model import ModelConfig
from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.memory import (
    GIB,
    MemoryParts,
    Place,
    checkpoint_bytes,
    engine_memory,
    host_memory,
    memory,
    pinned,
    pinned_parts,
)
from rvpo.plan.shape import ModelShape, is_on_hub, published_shape, read_shape
from rvpo.rollout.memory import KvCache
from tests.configs import tiny_config

GPU = 80 * GIB
PLACE = Place(ranks=8, prompt_tokens=500, device=GPU)


@cache
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
        ("Qwen/Qwen2.5-32B-Instruct", 32.76),
        ("Qwen/Qwen2.5-72B", 72.71),
    ],
)
def test_published_shapes_have_the_published_sizes(name: str, billions: float) -> None:
    assert round(shape(name).parameters / 1e9, 2) == billions


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-110B", "Qwen/Qwen3-14B", "Qwen2.5-7B-Chat"])
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
    offloaded, on_gpus = config(offload_optimizer=True), config(offload_while_generating=False)
    parts = memory(offloaded, shape(), PLACE)
    assert parts.optimizer == parts.gradients == parts.read == parts.flattened == 0
    engines = host_memory(on_gpus, shape(), PLACE, 8)
    assert engines == 8 * GIB
    # DeepSpeed keeps gradients twice.
    assert host_memory(offloaded, shape(), PLACE, 8) - engines == 20 * shape().parameters
    # Beside an engine that works meanwhile, they take the next power of two.
    ahead = host_memory(staleness(offloaded), shape(), PLACE, 8)
    assert ahead == 12 * shape().parameters + 8 * 2 * 2**32


def test_the_optimizer_makes_room_for_an_engine_that_generates_in_turn() -> None:
    stays, moves = (memory(config(offload_while_generating=m), shape(), PLACE) for m in (0, 1))
    room = moves.optimizer + moves.gradients + moves.buffers
    for moment in ("start", "sync", "rollout"):
        assert stays.peaks[moment] - moves.peaks[moment] == pytest.approx(room)
    for moment in ("resume", "update"):
        assert stays.peaks[moment] == moves.peaks[moment]
    waiting = host_memory(config(), shape(), PLACE, 8) - 8 * GIB
    assert waiting == 12 * shape().parameters  # master weights and two moments
    for other in (config({"devices": list(range(8, 16))}), staleness(config())):
        assert memory(other, shape(), PLACE).moved == 0


def test_pinned_memory_is_rounded_up_to_a_power_of_two_part_by_part() -> None:
    assert [pinned(size) for size in (0, 1, 2, 3, 4, 5, 2**20 + 1)] == [0, 1, 2, 4, 4, 8, 2**21]
    assert pinned_parts(9, 4) == 4 + 4 + 1
    assert pinned_parts(9 * 10**9, 4 * 10**9) == 2 * 2**32 + 2**30


def test_fp32_weights_are_their_own_master_weights() -> None:
    whole = config().model_copy(update={"model": ModelConfig(path="unused", precision="fp32")})
    parts = memory(whole, shape(), PLACE)
    held = (parts.weights, parts.gradients, parts.optimizer)
    assert [8 * part / shape().parameters for part in held] == [4, 4, 8]


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
    ahead = staleness(config())
    parts = memory(ahead, shape(), PLACE)
    assert parts.engine == parts.resting == parts.loading == 40 * GIB
    assert parts.context > memory(config(), shape(), PLACE).context  # its process has one too
    assert host_memory(ahead, shape(), PLACE, 8) == 0


def staleness(run: RunConfig) -> RunConfig:
    return run.model_copy(update={"rollout": run.rollout.model_copy(update={"staleness": 1})})


def test_engines_on_gpus_of_their_own_take_nothing_from_training() -> None:
    parts = memory(config({"devices": list(range(8, 16))}), shape(), PLACE)
    assert parts.engine == parts.resting == 0


def test_a_judge_on_the_same_gpu_counts_at_all_times() -> None:
    alone, beside = (memory(config(), shape(), replace(PLACE, judge=j)) for j in (0.0, 8 * GIB))
    own = 0.75 * GIB  # CUDA's context of its process
    assert beside.update - alone.update == beside.rollout - alone.rollout == 8 * GIB + own


def cache_of(run: RunConfig, device: float) -> KvCache:
    found = engine_memory(run, shape(), replace(PLACE, device=device)).cache
    assert found is not None
    return found


def test_the_kv_cache_has_what_weights_a_forward_pass_and_graphs_leave() -> None:
    found = cache_of(config(), GPU)
    forward = 8192 * 2 * 3 * (3584 + 18_944)
    assert found.size == 40 * GIB - 2 * shape().parameters - forward - GIB
    assert found.tokens == found.size // (2 * 2 * 28 * 512)
    assert found.fits
    assert not cache_of(config(), 24 * GIB).fits


def test_vllm_refuses_a_context_that_has_no_room_be_it_the_models_own() -> None:
    own = {"max_context_tokens": None, "gpu_memory": 0.22}
    assert cache_of(config(own), GPU).longest == 32_768
    assert not cache_of(config(own), GPU).fits
    assert cache_of(config(own | {"max_context_tokens": 2048}), GPU).fits


def test_as_many_sequences_are_generated_at_once_as_have_room_and_vllm_takes() -> None:
    found = KvCache(size=GIB, tokens=10_000, longest=4000, most=12)
    assert [found.at_once(tokens) for tokens in (4000, 1000, 10, 20_000)] == [2, 10, 12, 0]
    assert KvCache(size=-1.0, tokens=-5, longest=1, most=12).at_once(1) == 0
    # By itself vLLM takes more at once on a large GPU, and rvpo less beside a trainer.
    assert [cache_of(config(), GPU).most, cache_of(staleness(config()), GPU).most] == [256, 1024]
    assert cache_of(staleness(config()), 48 * GIB).most == 256


def test_options_of_vllm_are_counted() -> None:
    usual = cache_of(config(), GPU)

    def size_with(**options: Any) -> KvCache:
        return cache_of(config({"options": options}), GPU)

    assert size_with(enforce_eager=True).size - usual.size == GIB
    assert size_with(max_num_batched_tokens=16_384).size < usual.size
    assert size_with(max_num_seqs=32).most == 32
    halved = size_with(kv_cache_dtype="fp8")
    assert (halved.size, halved.tokens // 2) == (usual.size, usual.tokens)


def test_settings_of_deepspeed_are_counted() -> None:
    usual = memory(config(beta=0.1), shape(), PLACE)

    def parts_with(**zero: Any) -> MemoryParts:
        given = config(beta=0.1, deepspeed={"zero_optimization": zero})
        return memory(given, shape(), PLACE)

    assert parts_with(reduce_bucket_size=2e8).buffers == 4e8
    assert usual.gathered - parts_with(stage3_max_live_parameters=1e8).gathered == 2 * 9e8
    assert parts_with(sub_group_size=1e8).flattened == 4e8
    assert parts_with(sub_group_size=None, reduce_bucket_size=None) == usual
    # For which DeepSpeed takes one model, so that there is no reference.
    shared = config(deepspeed={"zero_optimization": {"zero_hpz_partition_size": 8}})
    assert memory(shared, shape(), PLACE).weights == 2 * usual.weights
    away = config(beta=0.1, deepspeed={"zero_optimization": {"offload_param": {"device": "cpu"}}})
    assert memory(away, shape(), PLACE).weights == memory(away, shape(), PLACE).reference == 0
    moved = host_memory(away, shape(), PLACE, 8) - host_memory(config(), shape(), PLACE, 8)
    assert moved == 2 * 2 * shape().parameters


NUMBERS = st.sampled_from([-1, 0, 1, 2, 7, 1000, 10**9, 10**18, 0.0, 0.5, 5e8, None])
AS_NUMBERS = sorted(
    name for name, kind in DEEPSPEED_OPTIONS.allowed.items() if "number" in kind.words
)


@given(
    st.dictionaries(st.sampled_from(AS_NUMBERS), NUMBERS, max_size=4),
    st.dictionaries(
        st.sampled_from(["max_num_seqs", "max_num_batched_tokens", "block_size", "watermark"]),
        NUMBERS,
        max_size=2,
    ),
    st.booleans(),
    st.sampled_from([None, GPU]),
)
@settings(deadline=None, max_examples=150)
def test_whatever_is_allowed_is_counted(
    given_numbers: dict[str, Any], engine: dict[str, Any], offloads: bool, device: float | None
) -> None:
    options: dict[str, Any] = {"zero_optimization": {}}
    for name, value in given_numbers.items():
        outer, _, inner = name.rpartition(".")
        (options[outer] if outer else options)[inner] = value
    try:
        run = config({"options": engine}, deepspeed=options, offload_optimizer=offloads)
    except ValidationError:
        return  # in a sentence
    place = replace(PLACE, device=device)
    assert 0 < memory(run, shape(), place).peak < math.inf
    assert 0 < host_memory(run, shape(), place, 8) < math.inf


def test_a_checkpoint_is_what_the_policy_will_say_it_is() -> None:
    assert checkpoint_bytes(config(), shape()) == 14 * shape().parameters
