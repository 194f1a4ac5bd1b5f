"""The time of a step, against sums written out by hand, and the split that it chooses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.assumptions import Assumptions, card_of, read_assumptions
from rvpo.plan.card import USUAL, Card
from rvpo.plan.cluster import training_nodes
from rvpo.plan.machine import Finding
from rvpo.plan.pace import PacedRun, step_time
from rvpo.plan.shape import ModelShape
from rvpo.plan.splits import all_splits, best
from rvpo.plan.times import time_findings
from tests.configs import tiny_config
from tests.pages import ROOT
from tests.plan.test_lora_table import shape_of, with_lora, with_servers
from tests.plan.test_table import PLACE, run

H100 = Card(name="H100", flops=989.4e12, bandwidth=3.35e12, link=450e9)


def setting(config: RunConfig, shape: ModelShape, **about: Any) -> PacedRun:
    """A run on one node, of which 8 GPUs train."""
    usual: dict[str, Any] = {
        "place": PLACE,
        "card": H100,
        "assumed": Assumptions(completion_tokens=800),
        "prompt_tokens": 150,
        "gpus": 8,
        "nodes": 1,
        "apart": config.rollout.engine.name == "servers",
        "far": config.rollout.engine.name == "servers",
    }
    return PacedRun(config=config, shape=shape, **usual | about)


def test_cards_are_known_by_name_and_size() -> None:
    assert Card.of("H100") == Card.of("H100", 80) == H100
    assert str(H100).startswith("H100: 989 TFLOP/s in bf16, 3.35 TB/s of memory, 450 GB/s")
    forty, eighty = Card.of("NVIDIA A100-SXM4-40GB"), Card.of("A100", 80)
    assert forty is not None
    assert eighty is not None
    assert (forty.bandwidth, eighty.bandwidth) == pytest.approx((1.555e12, 2.039e12))
    assert Card.of("TPU v7") is None
    assert all(Card.of(name, sold) is not None for sold, name in USUAL.items())


def test_an_assumption_is_a_number_of_its_kind() -> None:
    assert read_assumptions(["mfu=0.35", "card = H200 "]) == Assumptions(mfu=0.35, card="H200")
    for given_words, words in [
        ("mfu", "--assume: must be NAME=VALUE, such as mfu=0.4, got 'mfu'"),
        ("mfu=1.5", "mfu"),
        ("mfu=much", "mfu"),
        ("mfo=0.3", "did you mean 'mfu'"),
        ("completion_tokens=0", "completion_tokens"),
        ("sync_s=nan", "sync_s"),
    ]:
        with pytest.raises(ConfigError, match=words):
            read_assumptions([given_words])
    with pytest.raises(ConfigError, match="the speed of 'T1000' is not known"):
        card_of(Assumptions(card="T1000"), 80, None)
    assert card_of(Assumptions(), None, None) is None
    assert card_of(Assumptions(), 141, None) == Card.of("H200")
    assert card_of(Assumptions(), None, "NVIDIA H100 80GB HBM3 (79 GiB)") is not None


def test_the_step_of_14b_in_turn_is_the_sum_by_hand() -> None:
    shape = shape_of("14B")
    time, whole = step_time(setting(run(), shape)), shape.parameters
    # 13.2 prompts of the busiest of 8 engines, with 16 samples each; 194 of 950 tokens have room.
    samples = 1.1 * 12 * 16
    at_once = 185_147 // 950
    assert at_once == 194
    steps = samples * 800 / at_once + 2560 - 800
    mean = samples * 800 / steps
    # A step reads 29.5 GB of weights, and of each sample the keys of a prompt and half an answer.
    keys = 2 * 2 * 48 * 1024 * (150 + 400)
    one = (2 * whole + mean * keys) / (0.7 * 3.35e12) + 0.001
    prefill = 2 * whole * 1.1 * 12 * 150 / (0.5 * 989.4e12)
    assert time.generate == pytest.approx(prefill + steps * one, rel=1e-9)
    # Forward 2, backward 4, again 2, reference 2 operations of each parameter and token.
    tokens = 1.1 * 12 * (150 + 16 * 800)
    assert time.update == pytest.approx(10 * whole * tokens / (0.4 * 989.4e12), rel=1e-9)
    # Gathered once; master weights, moments, gradients and buffers leave the GPU and come back.
    gathered = 2 * whole * 7 / 8 / (0.7 * 450e9)
    moved = 16 * whole / 8 + 2 * 5e8
    assert time.sync == pytest.approx(1 + gathered + 2 * moved / 50e9, rel=1e-9)
    assert [round(part) for part in (time.generate, time.update, time.sync)] == [44, 64, 2]
    assert time.seconds(ahead=True) == time.seconds(ahead=False)  # they share the GPUs
    assert time.an_hour(ahead=False) == pytest.approx(
        3600 / (time.generate + time.update + time.sync)
    )


def test_the_step_of_32b_on_servers_is_the_sum_by_hand() -> None:
    shape = shape_of("32B")
    time, whole = step_time(setting(with_servers(4, count=2), shape)), shape.parameters
    groups = 1.1 * 96 / 2
    samples = groups * 16
    steps = samples * 800 / 256 + 2560 - 800  # asked for at once: 256 of one server
    mean = samples * 800 / steps
    bandwidth, sums = 0.7 * 3.35e12, 2 * 3 / 4 * 2 * 64 * 2 * 5120 / (0.7 * 450e9)
    weights = max(2 * whole / 4 / bandwidth, 2 * whole / 4 * mean / (0.5 * 989.4e12))
    keys = 2 * 2 * 64 * (1024 // 4) * (150 + 400)
    one = weights + mean * keys / bandwidth + 0.001 + 2 * 64 * 1e-5 + mean * sums
    prefill = 2 * whole / 4 * groups * 150 / (0.5 * 989.4e12) + groups * 150 * sums
    assert time.generate == pytest.approx(prefill + steps * one, rel=1e-9)
    gathered, sent = 2 * whole * 7 / 8 / (0.7 * 450e9), 2 * whole / (0.7 * 50e9)
    assert time.sync == pytest.approx(1 + gathered + sent, rel=1e-9)
    longer = max(time.generate, time.update)
    assert time.seconds(ahead=True) == pytest.approx(longer + time.sync)
    assert time.seconds(ahead=False) == pytest.approx(time.generate + time.update + time.sync)


def test_adapters_save_a_third_of_the_arithmetic_and_all_of_the_wire() -> None:
    shape = shape_of("7B")
    full = step_time(setting(with_servers(1), shape))
    lora = step_time(setting(with_lora(with_servers(1)), shape))
    # Forward, gradient of the input, recomputed, reference: 8 of 10, and a little for adapters.
    assert lora.update / full.update == pytest.approx(0.8, rel=0.01)
    assert lora.sync == pytest.approx(1.0, abs=0.01)
    assert full.sync > 1.4


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("beta", [0.001, 0.0])
def test_dropout_takes_a_forward_pass_for_the_old_log_probabilities(
    again: bool, beta: float
) -> None:
    shape = shape_of("7B")
    config = run(beta=beta, activation_checkpointing=again)
    plain, dropped = (
        step_time(setting(with_lora(config, dropout=dropout), shape)).update
        for dropout in (0.0, 0.1)
    )
    # Forward and the gradient of what came in, recomputed or not, and the reference.
    passes = 4 + 2 * again + 2 * (beta > 0)
    assert dropped / plain == pytest.approx((passes + 2) / passes, rel=0.01)
    # Those of several updates are known by the same pass.
    several = run(beta=beta, activation_checkpointing=again, mini_batches=2)
    plain, dropped = (
        step_time(setting(with_lora(several, dropout=dropout), shape)).update
        for dropout in (0.0, 0.1)
    )
    assert dropped == plain


def test_between_nodes_weights_travel_by_the_network() -> None:
    shape = shape_of("14B")
    two = {"place": replace(PLACE, ranks=16), "nodes": 2}
    slow = Assumptions(completion_tokens=800, network_gbit=25)
    fast, slowed = (
        step_time(setting(run(), shape, assumed=a, **two)).update
        for a in (Assumptions(completion_tokens=800), slow)
    )
    tokens = 1.1 * 6 * (150 + 16 * 800)
    rows = math.ceil(tokens / 8192)
    # Each row gathers for forward, recomputation, backward and reference, and sends gradients.
    wires = 15 / 16 * 2 * rows * 5 * shape.parameters / (0.7 * 8 * 25e9 / 8)
    assert slowed == pytest.approx(wires, rel=1e-9)
    assert fast < slowed


MODELS = {"7B": 7.62, "14B": 14.77, "32B": 32.76, "72B": 72.71}


@pytest.mark.parametrize("nodes", [1, 2, 8])
@pytest.mark.parametrize("name", MODELS)
def test_the_best_split_fits_and_says_so_in_lines_that_are_a_run(name: str, nodes: int) -> None:
    shape = shape_of(name)
    splits = all_splits(setting(run(), shape), nodes)
    assert len({split.name for split in splits}) == len(splits) > 1
    for ahead in (False, True):
        chosen = best(splits, ahead=ahead)
        if (name, nodes) == ("72B", 1):
            assert chosen is None
            continue
        assert chosen is not None
        assert chosen.way.fits(shape)
        assert chosen.an_hour(ahead=ahead) == max(split.an_hour(ahead=ahead) for split in splits)
        assert RunConfig.model_validate(chosen.way.config.model_dump()) == chosen.way.config
        assert f"distributed.processes={chosen.trainers}" in chosen.lines
        assert chosen.way.config.distributed.processes == chosen.trainers


def told(config: RunConfig, shape: ModelShape, nodes: int) -> dict[str, Finding]:
    found = time_findings(setting(config, shape), nodes, 8)
    return {finding.part.strip(): finding for finding in found}


def test_all_of_72b_does_not_fit_a_node_and_what_would_is_said() -> None:
    shape = shape_of("72B")
    found = told(run(), shape, 1)
    said = found["best split"]
    assert (said.state, said.found) == ("note", "none fits 8 GPUs of 79.1 GiB")
    lora, more = said.remedy.split("; or ")
    assert lora.startswith("model.lora={rank: 16}, which trains adapters alone: rollout.engine=")
    assert "tensor_parallel: 4" in lora
    assert more.startswith("--nodes 2: rollout.engine={name: servers, tensor_parallel: ")
    assert "does not fit: it takes" in found["all 8"].found
    # Said and done.
    assert told(with_lora(run()), shape, 1)["best split"].state == "ok"
    assert told(run(), shape, 2)["best split"].state == "ok"


def test_the_plan_says_that_it_is_a_model_and_every_number_of_it() -> None:
    found = told(run(), shape_of("7B"), 1)
    assert "Times are of a model, not measured" in found["splits"].found
    for name in Assumptions.model_fields:
        if name != "card":
            assert any(f"{name}=" in finding.found for finding in found.values()), name
    assert found["card"].found.startswith("H100: 989 TFLOP/s")
    assert found["step"].found.endswith("steps an hour")
    assert found["best split"].found.startswith("all 8: ")
    ahead = told(run(staleness=1), shape_of("7B"), 1)["best split"]
    assert ahead.found.startswith("6 + 2, TP 1: ")
    assert "start: {servers: 2, devices: [6, 7]}" in ahead.remedy


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_splits_that_generate_ahead_do_so_as_far_as_the_run(staleness: int) -> None:
    found = told(run(staleness=staleness), shape_of("7B"), 1)
    splits = [each.found for part, each in found.items() if ", TP " in part and each.state == "ok"]
    assert splits
    assert all(f"with rollout.staleness={max(1, staleness)}" in each for each in splits)


@pytest.mark.parametrize("lora", [False, True])
def test_a_split_takes_new_weights_in_flight_where_it_can(lora: bool) -> None:
    config = run({"devices": list(range(8, 16))}, staleness=2)
    rollout = config.rollout.model_copy(update={"in_flight": True})
    config = config.model_copy(update={"rollout": rollout})
    config = with_lora(config) if lora else config
    for split in all_splits(setting(config, shape_of("7B")), 1):
        chosen = split.way.config
        assert RunConfig.model_validate(chosen.model_dump()) == chosen
        alone = split.name == "all 8"
        assert chosen.rollout.in_flight is not (alone or lora)
        assert ("rollout.in_flight=false" in split.lines) is (alone or lora)


@given(
    st.sampled_from(["mfu", "memory", "prefill", "wire"]),
    st.floats(0.05, 0.9),
    st.sampled_from([1, 2]),
)
@settings(max_examples=20, deadline=None)
def test_a_faster_machine_is_never_slower(name: str, share: float, nodes: int) -> None:
    config, shape = with_servers(2, count=2), SMALL
    slow = setting(config, shape, nodes=nodes, assumed=Assumptions(**{name: share}))
    fast = replace(slow, assumed=Assumptions(**{name: share * 1.1}))
    for ahead in (False, True):
        assert step_time(fast).seconds(ahead=ahead) <= step_time(slow).seconds(ahead=ahead)


SMALL = ModelShape(
    parameters=10**9,
    largest=10**8,
    layers=16,
    hidden=2048,
    intermediate=8192,
    heads=16,
    kv_heads=8,
    kv=1024,
    vocabulary=100_000,
    context=8192,
)


@pytest.mark.parametrize(
    ("each", "count", "trainers", "nodes", "training"),
    [
        (4, 2, 8, 2, 1),  # a node of servers
        (2, 1, 6, 1, 1),  # beside training
        (2, 2, 6, 2, 2),  # one beside training on each node
        (1, 24, 8, 8, 5),
        (1, 1, 8, 4, 3),
    ],
)
def test_servers_leave_as_many_nodes_as_they_can_to_training(
    each: int, count: int, trainers: int, nodes: int, training: int
) -> None:
    config = with_servers(each, count=count)
    processes = config.distributed.model_copy(update={"processes": trainers})
    config = config.model_copy(update={"distributed": processes})
    assert training_nodes(config, nodes, 8) == training


@pytest.mark.parametrize(
    ("each", "count", "remedy"),
    [(8, 3, "--nodes 4"), (1, 9, "--nodes 3"), (16, 1, "nodes of 16 GPUs or more")],
)
def test_too_few_nodes_for_the_servers_are_refused(each: int, count: int, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        training_nodes(with_servers(each, count=count), 1, 8)
    if remedy.startswith("--nodes"):
        assert training_nodes(with_servers(each, count=count), int(remedy.split()[1]), 8) == 1


def test_engines_of_the_trainers_leave_all_nodes_to_training() -> None:
    assert training_nodes(run(), 4, 8) == 4
    assert training_nodes(tiny_config(Path("unused")), 4, 8) == 4


SPLITS = {
    ("7B", 1): ("all 8", 44, "6 + 2, TP 1", 49),
    ("7B", 2): ("all 16", 70, "1 + 1, TP 2", 66),
    ("7B", 8): ("4 + 4, TP 4", 141, "4 + 4, TP 4", 243),
    ("14B", 1): ("all 8", 19, "6 + 2, TP 2", 18),
    ("14B", 2): ("all 16", 35, "1 + 1, TP 2", 34),
    ("14B", 8): ("4 + 4, TP 4", 74, "4 + 4, TP 4", 129),
    ("32B", 2): ("1 + 1, TP 4", 11, "1 + 1, TP 4", 15),
    ("32B", 8): ("4 + 4, TP 8", 39, "6 + 2, TP 4", 64),
    ("72B", 2): ("1 + 1, TP 4", 5, "1 + 1, TP 4", 7),
    ("72B", 8): ("6 + 2, TP 4", 20, "6 + 2, TP 4", 37),
}


def test_the_table_of_the_documentation_is_what_the_plan_finds() -> None:
    lines = []
    for (name, nodes), row in SPLITS.items():
        at = setting(run(), shape_of(name), assumed=Assumptions(), prompt_tokens=512)
        splits, found = all_splits(at, nodes), []
        for ahead in (False, True):
            chosen = best(splits, ahead=ahead)
            assert chosen is not None
            found += [chosen.name, round(chosen.an_hour(ahead=ahead))]
        assert tuple(found) == row
        lines.append(f"| {name} | {nodes} | {row[0]} | {row[1]} | {row[2]} | {row[3]} |")
    page = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in page
