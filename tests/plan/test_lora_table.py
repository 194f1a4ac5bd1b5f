"""Memory of LoRA and of models that servers divide, against sums written out by hand.

The run of `test_table`, with adapters of rank 16 for all linear layers, or with servers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.plan.adapters import served_adapters, trained_parameters
from rvpo.plan.device import Devices, device_findings
from rvpo.plan.levers import Way
from rvpo.plan.machine import Finding, Machine
from rvpo.plan.memory import (
    Place,
    checkpoint_bytes,
    engine_memory,
    host_memory,
    memory,
    model_bytes,
)
from rvpo.plan.servers import divides, largest_part
from rvpo.plan.shape import ModelShape, published_shape
from rvpo.rollout.lora_config import LoraConfig
from tests.plan.test_table import GIB, GPU, MODELS, PLACE, Published, parameters, run

SERVERS = {"name": "servers", "urls": ["http://10.0.0.2:8000"], "max_context_tokens": 3584}


@cache
def shape_of(name: str) -> ModelShape:
    found = published_shape(f"Qwen2.5-{name}")
    assert found is not None
    return found


def with_lora(config: RunConfig, **settings: Any) -> RunConfig:
    model = config.model.model_copy(update={"lora": LoraConfig(**settings)})
    return config.model_copy(update={"model": model})


def with_servers(each: int, count: int = 1, **settings: Any) -> RunConfig:
    urls = [f"http://10.0.0.{number}:8000" for number in range(2, 2 + count)]
    engine = SERVERS | {"urls": urls, "tensor_parallel": each} | settings
    rollout = run().rollout.model_dump() | {"engine": engine}
    return RunConfig.model_validate(run().model_dump() | {"rollout": rollout})


def ends(model: Published) -> int:
    """Inputs and outputs of the linear layers of a layer: q, o; k, v; gate, up, down."""
    hidden, kv = model.hidden, model.kv_heads * 128
    return 2 * 2 * hidden + 2 * (hidden + kv) + 3 * (hidden + model.inside)


MILLIONS = {"3B": 29.9, "7B": 40.4, "14B": 68.8, "32B": 134.2, "72B": 210.5}
"""Parameters of adapters of rank 16."""


@pytest.mark.parametrize("name", MODELS)
def test_adapters_are_what_is_trained_and_saved(name: str) -> None:
    model, shape = MODELS[name], shape_of(name)
    config, whole, adapters = with_lora(run()), parameters(model), 16 * model.layers * ends(model)
    assert trained_parameters(config, shape) == adapters
    assert round(adapters / 1e6, 1) == MILLIONS[name]
    parts = memory(config, shape, PLACE)
    # 2 bytes of a frozen parameter and 18 of one of an adapter, among 8; no reference.
    frozen = parts.weights + parts.reference + parts.optimizer + parts.gradients
    assert frozen == pytest.approx((2 * whole + 18 * adapters) / 8, rel=1e-12)
    assert parts.read == 8 * adapters / 8
    # One layer is recomputed; its adapters keep 16 numbers a token each for seven of them.
    kept = memory(run(), shape, PLACE).activations
    assert parts.activations - kept == 8192 * 2 * 7 * 16
    assert parts.sent == 3 * 2 * adapters
    # No gradient of the output layer, whose weights stay as they are.
    assert parts.logits == 16 * 2048 * model.vocabulary
    assert checkpoint_bytes(config, shape) == 14 * adapters
    assert checkpoint_bytes(config, shape) < 0.02 * checkpoint_bytes(run(), shape)
    assert model_bytes(config, shape) == 2 * (whole + adapters)
    # The engine's weights wait in host memory, as they do not come anew.
    assert host_memory(config, shape, PLACE, 8) == 8 * (2 * whole + GIB) + 12 * adapters


def test_adapters_of_some_layers_and_with_dropout_are_counted() -> None:
    model, shape = MODELS["7B"], shape_of("7B")
    hidden, kv = model.hidden, model.kv_heads * 128
    some = with_lora(run(), rank=12, targets=["q_proj", "self_attn.v_proj"], dropout=0.1)
    assert trained_parameters(some, shape) == 12 * model.layers * (2 * hidden + hidden + kv)
    assert trained_parameters(with_lora(run(), targets=["proj"]), shape) == 0
    # vLLM makes room for rank 16, at every linear layer.
    assert served_adapters(some, shape) == 16 * model.layers * ends(model)
    kept = memory(run(), shape, PLACE).activations
    beside = memory(some, shape, PLACE).activations - kept
    assert beside == 8192 * 2 * (2 * hidden + 2 * 12)


def test_a_base_of_4_bits_takes_a_quarter_but_for_its_tables_and_scales() -> None:
    model, shape = MODELS["72B"], shape_of("72B")
    hidden, kv = model.hidden, model.kv_heads * 128
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * model.inside
    linear, adapters = model.layers * layer, 16 * model.layers * ends(model)
    lora = with_lora(run())
    packed = lora.model.model_copy(update={"base_bits": 4})
    parts = memory(lora.model_copy(update={"model": packed}), shape, PLACE)
    base = 2 * (parameters(model) - linear) + linear / 2
    scales = linear / 64 + 4 * linear / (64 * 256)  # whole on each rank
    assert parts.weights == pytest.approx((base + 2 * adapters) / 8 + scales, rel=1e-12)
    assert [round(memory(lora, shape, PLACE).weights / GIB, 1), round(parts.weights / GIB, 1)] == [
        17.0,
        5.8,
    ]
    # The largest layer is unpacked to compute with.
    assert parts.gathered - memory(lora, shape, PLACE).gathered == 2 * hidden * model.inside


def host_words(config: RunConfig, memory: float | None = None) -> Finding:
    """The memory of a machine with the eight GPUs, of so many GiB where that is known."""
    machine = Machine(
        python="3.11.7",
        packages={},
        devices=(),
        cores=8,
        native_bf16=True,
        compiler=None,
        disk=1e3,
        memory=memory,
        wandb="no key",
    )
    devices = Devices(gpus=8, memory=GPU, given=memory is None)
    found = device_findings(config, shape_of("7B"), {}, 1024, devices, machine)
    return next(finding for finding in found if finding.part == "host memory")


def test_host_memory_is_told_by_what_it_is_for() -> None:
    whole = run()
    lora = with_lora(whole)
    offloaded = run(offload_optimizer=True)
    zero = {"zero_optimization": {"offload_param": {"device": "cpu"}}}
    # 20 bytes of a parameter for an optimizer that is always there: 12, and gradients twice 4.
    for config, words in [
        (
            lora,
            ": 121.5 for engines asleep, whose weights wait there, 0.5 for the optimizer while gen",
        ),
        (whole, "8.0 for engines asleep, 85.1 for the optimizer while generating, pinned; "),
        (offloaded, "8.0 for engines asleep, 141.9 for the optimizer; "),
        (with_lora(whole, sync="merged"), "8.0 for engines asleep, 0.5 for the optimizer while"),
        (run(deepspeed=zero, beta=0), "pinned, 14.2 for the weights that learn; "),
    ]:
        assert words in host_words(config).found
    assert host_words(with_servers(1)).found.startswith("0.0 GiB beside the GPUs, on one machine; ")


def test_where_engines_fill_a_machine_it_is_said_how_they_would_not() -> None:
    found = host_words(with_lora(run()), memory=100)
    assert found.state == "missing"
    assert "model.lora.sync=merged" in found.remedy
    assert "rollout.engine={name: servers}" in found.remedy
    assert host_words(with_lora(run(), sync="merged"), memory=100).state == "ok"
    assert "merged" not in host_words(run(), memory=50).remedy


def test_merged_weights_travel_whole() -> None:
    model, shape = MODELS["7B"], shape_of("7B")
    merged = with_lora(run(), sync="merged")
    table = model.vocabulary * model.hidden
    # The product of an adapter and its sum with the weight, in fp32.
    added = 2 * 4 * model.hidden * model.inside
    assert memory(merged, shape, PLACE).sent == 3 * 2 * table + added
    assert served_adapters(merged, shape) == 0
    assert host_memory(merged, shape, PLACE, 8) == 8 * GIB + 12 * trained_parameters(merged, shape)


TOKENS = {
    ("7B", 1): 1_010_046,
    ("7B", 4): 4_882_881,
    ("14B", 2): 600_573,
    ("32B", 2): 310_819,
    ("32B", 8): 2_002_497,
    ("72B", 4): 457_222,
    ("72B", 8): 1_358_209,
}


@pytest.mark.parametrize(("name", "each"), TOKENS)
def test_a_server_holds_a_part_of_the_model_on_each_gpu(name: str, each: int) -> None:
    model, shape = MODELS[name], shape_of(name)
    config = with_servers(each)
    found = engine_memory(config, shape, PLACE)
    # .9 of a GPU: its part of the weights, a pass of 16384 tokens or the logits of 1024 samples,
    # and graphs. Attention's inputs and outputs are whole on each, the feed-forward part is not.
    forward = 16_384 * 2 * 3 * (model.hidden + model.inside // each)
    forward = max(forward, 1024 * (2 + 4 + 4) * model.vocabulary)
    room = 0.9 * GPU - 2 * parameters(model) / each - forward - GIB
    heads = max(1, model.kv_heads // each)  # fewer than GPUs: one whole on each
    tokens = int(room // (2 * 2 * model.layers * heads * 128))
    assert found.cache is not None
    assert (found.cache.tokens, TOKENS[name, each]) == (tokens, tokens)
    assert found.own == 0.9 * GPU + 2 * GIB  # and vLLM's buffers for new weights
    # Of training's GPUs it takes nothing but the same buffers on the way out.
    parts = memory(config, shape, PLACE)
    assert parts.engine == parts.resting == parts.loading == 0
    table = model.vocabulary * model.hidden
    assert parts.sent == 3 * 2 * table + 2 * GIB
    assert parts.moved == 0


def test_heads_are_divided_evenly_or_not_at_all() -> None:
    parts = {name: [n for n in range(1, 17) if divides(shape_of(name), n)] for name in MODELS}
    # 16, 28, 40, 40 and 64 heads; keys and values have 2, 4, 8, 8 and 8.
    assert parts["3B"] == [1, 2, 4, 8, 16]
    assert parts["7B"] == [1, 2, 4]
    assert parts["14B"] == parts["32B"] == [1, 2, 4, 8]
    assert parts["72B"] == [1, 2, 4, 8, 16]
    assert largest_part(shape_of("7B"), 8) == 4


@pytest.mark.parametrize(
    ("name", "each", "lora", "update", "fits"),
    [
        ("72B", 8, False, 203.4, False),  # training alone is too much for one node
        ("72B", 8, True, 44.0, True),
        ("32B", 4, False, 101.3, False),
        ("32B", 4, True, 27.9, True),
        ("14B", 2, False, 57.3, True),
    ],
)
def test_one_node_trains_72b_by_lora_beside_a_server_of_another(
    name: str, each: int, lora: bool, update: float, fits: bool
) -> None:
    config, shape = with_servers(each), shape_of(name)
    config = with_lora(config) if lora else config
    assert round(memory(config, shape, PLACE).update / GIB, 1) == update
    assert Way(config, PLACE).fits(shape) is fits


def test_on_a_cpu_servers_started_here_are_counted_once_each() -> None:
    shape, place = shape_of("3B"), Place(ranks=4, prompt_tokens=100, device=None)
    elsewhere = with_servers(1, count=2)
    assert memory(elsewhere, shape, place).engine == 0
    start = {"urls": [], "start": {"servers": 2}, "cpu_kv_cache_gib": 3}
    taken = 4 * memory(with_servers(1, **start), shape, place).engine
    assert taken == 2 * (2 * shape.parameters + 3 * GIB)
