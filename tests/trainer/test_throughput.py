"""Tokens a second, arithmetic used and memory, over all ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rvpo.report.metrics import entry_of
from rvpo.runtime.device_memory import MemoryPeak
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.metrics import completion_metrics
from rvpo.trainer.peak_flops import peak_flops
from rvpo.trainer.throughput import (
    Stopwatch,
    Work,
    generation_metrics,
    multiplied_parameters,
    update_metrics,
)
from rvpo.types import Generation
from tests.fakes import make_rollout

GIB = 2**30
ON_CPU = Work(tokens=100, passes=6, seconds=2.0, peak=None, memory=None)
ON_GPU = Work(tokens=1_000, passes=6, seconds=2.0, peak=1e9, memory=3 * GIB)


def test_an_update_is_as_fast_as_its_slowest_rank() -> None:
    parts = [ON_CPU, replace(ON_CPU, tokens=300, seconds=4.0)]
    assert update_metrics(parts, 10) == {"tokens_per_second/update": 100.0}


def test_the_share_of_arithmetic_is_what_the_model_asks_of_what_the_cards_can() -> None:
    parts = [ON_GPU, replace(ON_GPU, tokens=3_000, memory=5 * GIB)]
    metrics = update_metrics(parts, 50_000)
    # 50,000 parameters x 6 x 4,000 tokens in 2 s, by two cards of 10^9 a second
    assert metrics["mfu/update"] == pytest.approx(1.2e9 / 4e9)
    assert metrics["memory/update_gib"] == 5.0


@given(st.integers(0, 3), st.sampled_from(["peak", "memory"]))
@settings(deadline=None)
def test_what_one_rank_does_not_know_is_absent_and_not_0(rank: int, missing: str) -> None:
    parts = [ON_GPU] * 4
    parts[rank] = replace(ON_GPU, **{missing: None})  # type: ignore[arg-type]
    gone = {"peak": "mfu/update", "memory": "memory/update_gib"}[missing]
    assert set(update_metrics([ON_GPU] * 4, 1)) - set(update_metrics(parts, 1)) == {gone}


def test_a_rollout_is_told_over_all_ranks() -> None:
    one = Generation(seconds=2.0, cache_usage=0.5, cache_tokens=900, preemptions=3, memory=4 * GIB)
    other = Generation(
        seconds=5.0, cache_usage=0.75, cache_tokens=800, preemptions=1, memory=2 * GIB
    )
    assert generation_metrics([one, other], 1_000) == {
        "tokens_per_second/generate": 200.0,
        "kv_cache/usage_max": 0.75,
        "kv_cache/preemptions": 4,
        "kv_cache/tokens": 800,
        "memory/generate_gib": 4.0,
    }
    assert generation_metrics([one, Generation(seconds=1.0)], 10) == {
        "tokens_per_second/generate": 5.0
    }
    assert generation_metrics([one, Generation()], 10) == {}


def test_no_preemption_is_told_as_0() -> None:
    metrics = generation_metrics([Generation(cache_usage=0.0, preemptions=0)], 10)
    assert metrics == {"kv_cache/usage_max": 0.0, "kv_cache/preemptions": 0}


def test_servers_are_told_as_the_rank_saw_them_that_lost_most() -> None:
    parts = [Generation(servers=2, asked_again=0), Generation(servers=1, asked_again=3)]
    assert generation_metrics(parts, 10) == {"servers/present": 1, "servers/asked_again": 3}


def test_every_name_has_an_entry() -> None:
    full = Generation(
        seconds=1.0,
        cache_usage=0.5,
        cache_tokens=9,
        preemptions=3,
        memory=GIB,
        servers=1,
        asked_again=0,
    )
    for name in {**update_metrics([ON_GPU], 1), **generation_metrics([full], 1)}:
        assert entry_of(name) == name


def test_the_metrics_of_a_step_have_those_of_its_rollout() -> None:
    rollout = replace(make_rollout(), generation=Generation(seconds=4.0))
    metrics = completion_metrics(0, rollout, Ranks.alone())
    tokens = sum(len(sample.completion_ids) for sample in rollout.samples)
    assert metrics["tokens_per_second/generate"] == tokens / 4
    assert rollout == make_rollout()  # its time is no part of what it is


@pytest.mark.parametrize(
    ("card", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA B200", 2250),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA A10", 125),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA RTX A6000", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("Tesla V100-SXM2-32GB", None),
        ("NVIDIA A1000", None),
        ("a card of tomorrow", None),
        ("", None),
    ],
)
def test_the_peak_of_a_card_is_its_makers_and_none_where_unknown(
    card: str, tera: float | None
) -> None:
    peak = peak_flops(card)
    assert peak == (None if tera is None else pytest.approx(tera * 1e12))


class FakeModel(nn.Module):
    """The parts of a causal language model that are counted."""

    def __init__(self, *, tied: bool, experts: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.layer = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 11, bias=False)
        self.seen = nn.Linear(4, 100).requires_grad_(False)
        if tied:
            self.head.weight = self.embed.weight
        if experts:
            self.experts = nn.Linear(4, 8 * experts, bias=False)
        self.config = SimpleNamespace(get_text_config=lambda: self.text)
        self.text = SimpleNamespace(num_experts=experts or None, num_experts_per_tok=2)

    def get_input_embeddings(self) -> Any:
        return self.embed

    def get_output_embeddings(self) -> Any:
        return self.head


@pytest.mark.parametrize("tied", [True, False])
def test_a_table_that_tokens_are_looked_up_in_is_no_arithmetic(tied: bool) -> None:
    assert multiplied_parameters(FakeModel(tied=tied)) == 4 * 4 + 4 * 11


def test_experts_count_as_far_as_a_token_is_sent_to_them() -> None:
    plain = multiplied_parameters(FakeModel(tied=False))
    assert multiplied_parameters(FakeModel(tied=False, experts=8)) == plain + 2 * 4 * 8


def test_on_a_cpu_there_is_time_alone() -> None:
    watch = Stopwatch(FakeModel(tied=True), torch.device("cpu"))
    watch.begin()
    metrics = watch.end(100, 6.0, Ranks.alone())
    assert set(metrics) == {"tokens_per_second/update"}
    assert metrics["tokens_per_second/update"] > 0


@dataclass
class FakeCuda:
    """A GPU whose pools and neighbours are as given, in bytes."""

    others: int = 0
    pools: int = 0
    highest: int = 0
    asleep: int = 0
    """Part of the pools that a sleeping engine has given back, of which torch does not know."""

    def reset_peak_memory_stats(self, device: object) -> None:
        self.highest = self.pools

    def mem_get_info(self, device: object) -> tuple[int, int]:
        return 1_000 - self.others - self.pools + self.asleep, 1_000

    def max_memory_reserved(self, device: object) -> int:
        return self.highest

    def memory_reserved(self, device: object) -> int:
        return self.pools


def test_a_peak_has_all_that_is_on_the_gpu_and_nothing_that_sleeps() -> None:
    cuda = FakeCuda(others=50, pools=400, asleep=300)
    peak = MemoryPeak(torch.device("cuda"), cuda)
    cuda.highest = 900
    peak.begin()
    cuda.highest, cuda.pools = 650, 420
    assert peak.end() == 50 + 650 - 300


def test_a_cpu_has_no_peak() -> None:
    peak = MemoryPeak(torch.device("cpu"))
    peak.begin()
    assert peak.end() is None
