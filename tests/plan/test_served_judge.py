"""A judge that is served takes memory where it is, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rvpo.plan.device import Devices, device_findings
from rvpo.plan.machine import Finding, examine
from rvpo.plan.shape import published_shape
from tests.configs import tiny_config

MACHINE = examine()
JUDGE = published_shape("Qwen2.5-7B")
POLICY = published_shape("Qwen2.5-1.5B")


def planned(gpus: int | None, **serve: Any) -> dict[str, Finding]:
    """Findings about two training processes with a judge of 7B, by part."""
    config = tiny_config(
        Path("m"),
        distributed={"processes": 2},
        judge={"serve": {"model": "j", **serve}},
        rollout={"engine": {"name": "vllm"}, "max_completion_tokens": 64},
    )
    assert POLICY is not None
    devices = Devices.of(config, MACHINE, gpus, 79.0)
    found = device_findings(config, POLICY, {"judge": JUDGE}, 100, devices, MACHINE)
    return {each.part.strip(): each for each in found}


def gib(finding: Finding) -> float:
    return float(finding.found.split()[0])


def test_a_judge_that_shares_takes_its_share_of_the_trainers_gpus() -> None:
    assert gib(planned(2, gpu_memory=0.3)["judge"]) == round(0.3 * 79, 1)
    given = planned(2, kv_cache_gib=6)["judge"]
    assert gib(given) == 22.7  # 14.2 GiB of weights in bf16, 6 of cache, 2.5 beside
    assert gib(planned(2, kv_cache_gib=6, tensor_parallel=2)["judge"]) == 15.6


def test_a_judge_with_gpus_of_its_own_takes_nothing_of_the_trainers() -> None:
    found = planned(4, devices=[2, 3], gpu_memory=0.9)
    assert "judge" not in found
    assert "served judge" not in found
    shared = planned(4, gpu_memory=0.3)
    difference = gib(shared["update peak"]) - gib(found["update peak"])
    assert abs(difference - gib(shared["judge"])) < 1.0


def test_as_many_gpus_are_planned_for_as_the_judge_needs() -> None:
    assert "served judge" not in planned(None, devices=[2, 3], gpu_memory=0.9)


def test_gpus_that_are_not_there_or_train_are_missing() -> None:
    for gpus, devices in ((2, [2]), (4, [1]), (4, [3, 4])):
        finding = planned(gpus, devices=devices, gpu_memory=0.9)["served judge"]
        assert finding.state == "missing"
        assert str(devices) in finding.found
    assert planned(2, tensor_parallel=4)["served judge"].state == "missing"


def test_a_share_that_does_not_hold_the_judge_is_missing() -> None:
    assert "does not hold" in planned(4, devices=[2], gpu_memory=0.1)["served judge"].found
    assert "of a GPU's" in planned(4, devices=[2], kv_cache_gib=70)["served judge"].found
