"""A judge served on GPUs: which it has, and that it is up before others take memory there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.judge import JudgeConfig, ServeConfig
from rvpo.errors import ConfigError, EngineError
from rvpo.judge.client.gpus import judge_gpus
from rvpo.judge.client.server import fingerprint, serve_options
from rvpo.judge.client.service import JudgeService
from rvpo.runtime.ranks import Ranks
from tests.configs import tiny_config

GIB = 2**30


def rank(device: str) -> Ranks:
    return Ranks(rank=0, size=1, device=torch.device(device))


def served(**settings: Any) -> ServeConfig:
    return ServeConfig.model_validate({"model": "m"} | settings)


class FakeServer:
    """Notes when it is started, awaited and closed."""

    def __init__(self, events: list[str], comes_up: bool = True) -> None:
        self.events = events
        self.visible: str | None = None
        self._comes_up = comes_up

    def start(self, config: ServeConfig, path: str, **place: Any) -> FakeServer:
        self.events.append("start")
        self.visible = place["visible"]
        return self

    def ready(self) -> None:
        self.events.append("ready")
        if not self._comes_up:
            raise EngineError("no memory")

    def close(self) -> None:
        self.events.append("close")


class NotedRanks(Ranks):
    """A group that notes when its ranks have met."""

    events: list[str]

    @contextmanager
    def together(self) -> Iterator[None]:
        with super().together():
            yield
        self.events.append("met")


def begun(server: FakeServer, device: str, folder: str, **settings: Any) -> list[str]:
    """The order of events until all ranks go on to build policy and engine."""
    ranks = NotedRanks(rank=0, size=1, device=torch.device(device))
    object.__setattr__(ranks, "events", server.events)
    config = JudgeConfig.model_validate({"serve": {"model": folder} | settings})
    service = JudgeService(config, ranks, serve=server.start)  # type: ignore[arg-type]
    try:
        with ranks.together():
            service.start()
    finally:
        events = list(server.events)
        service.close()
    return events


def test_a_judge_on_a_shared_gpu_is_up_before_any_rank_goes_on(tiny_model: Path) -> None:
    assert begun(FakeServer([]), "cuda:0", str(tiny_model)) == ["start", "ready", "met"]


def test_elsewhere_a_judge_comes_up_beside_the_others(tiny_model: Path) -> None:
    assert begun(FakeServer([]), "cpu", str(tiny_model)) == ["start", "met"]


def test_a_judge_that_does_not_come_up_ends_the_run_before_policy_and_engine(
    tiny_model: Path,
) -> None:
    server = FakeServer([], comes_up=False)
    with pytest.raises(EngineError, match="no memory"):
        begun(server, "cuda:0", str(tiny_model))
    assert server.events == ["start", "ready", "close"]


gpu_counts = st.integers(1, 8)


@given(
    trainers=gpu_counts,
    count=gpu_counts,
    devices=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    hidden=st.booleans(),
)
def test_a_judge_has_the_devices_that_are_there_and_not_training_s(
    trainers: int, count: int, devices: list[int], hidden: bool
) -> None:
    names = [f"GPU-{number + 20}" for number in range(count)]
    environment = {"LOCAL_WORLD_SIZE": str(trainers)}
    if hidden:  # this process sees some GPUs alone, under numbers of its own
        environment["CUDA_VISIBLE_DEVICES"] = ", ".join(names)
    given_devices = served(devices=devices)
    assert given_devices.gpus == len(devices)
    if all(trainers <= number < count for number in devices):
        found = judge_gpus(given_devices, rank("cuda:0"), gpus=count, environment=environment)
        expected = [names[number] if hidden else str(number) for number in devices]
        assert found == ",".join(expected)
        return
    with pytest.raises(ConfigError, match=r"judge\.serve\.devices: \[.*leave it out") as refused:
        judge_gpus(given_devices, rank("cuda:0"), gpus=count, environment=environment)
    example = str(refused.value).partition("for example ")[2].partition("]")[0]
    assert bool(example) == (count > trainers)
    if example:  # what the sentence says is then taken
        advised = served(devices=[int(number) for number in example[1:].split(",")])
        judge_gpus(advised, rank("cuda:0"), gpus=count, environment=environment)


@given(asked=gpu_counts, count=gpu_counts)
def test_a_judge_over_several_shared_gpus_needs_as_many(asked: int, count: int) -> None:
    if asked <= count:
        assert judge_gpus(served(tensor_parallel=asked), rank("cuda:0"), gpus=count) is None
        return
    with pytest.raises(ConfigError, match=rf"tensor_parallel: {asked} GPUs .* machine's {count};"):
        judge_gpus(served(tensor_parallel=asked), rank("cuda:0"), gpus=count)


@pytest.mark.parametrize("settings", [{"devices": [1]}, {"tensor_parallel": 2}])
def test_gpus_for_a_judge_are_refused_where_there_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"judge\.serve\.(devices|tensor_parallel): .*leave it"):
        JudgeService(JudgeConfig(serve=served(**settings)), rank("cpu"))


@pytest.mark.parametrize(
    "settings",
    [{"devices": [3, 3]}, {"devices": [2, 3], "tensor_parallel": 1}, {"tensor_parallel": 0}],
)
def test_devices_of_a_judge_are_different_and_as_many_as_its_parts(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match=r"devices|tensor_parallel"):
        served(**settings)


def test_a_judge_and_an_engine_do_not_have_the_same_gpu() -> None:
    def judged(*devices: int) -> object:
        judge = {"serve": {"model": "m", "devices": devices}}
        return tiny_config(
            Path("m"), judge=judge, rollout={"engine": {"name": "vllm", "devices": [3, 4]}}
        )

    judged(5, 6)
    with pytest.raises(ValidationError, match=r"judge\.serve\.devices: \[4\] belong to rollout"):
        judged(5, 4)


def test_vllm_hears_of_share_cache_and_gpus_on_gpus_alone() -> None:
    config = served(gpu_memory=0.2, kv_cache_gib=1.5, devices=[6, 7])
    options = serve_options(config, "/m", on_gpu=True)
    told = dict(pairwise(options))
    assert told["--gpu-memory-utilization"] == "0.2"
    assert told["--kv-cache-memory-bytes"] == str(3 * GIB // 2)
    assert told["--tensor-parallel-size"] == "2"
    assert serve_options(config, "/m", on_gpu=False) == serve_options(served(), "/m", on_gpu=False)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_judge_is_served_in_its_precision_and_its_verdicts_are_kept_apart(
    tmp_path: Path, *, on_gpu: bool
) -> None:
    (tmp_path / "weights").write_text("w")
    for model in (str(tmp_path), "somebody/model"):
        names = set()
        for precision, spelled in (("bf16", "bfloat16"), ("fp32", "float32")):
            options = serve_options(served(precision=precision), model, on_gpu=on_gpu)
            assert dict(pairwise(options))["--dtype"] == spelled
            names.add(fingerprint(model, precision))
        assert len(names) == 2


def test_a_served_judge_takes_its_share_or_its_weights_and_the_cache_given() -> None:
    assert served(gpu_memory=0.25).share(80 * GIB, 14 * GIB) == 20 * GIB
    halved = served(devices=[6, 7], kv_cache_gib=8)
    assert halved.share(80 * GIB, 14 * GIB) == (7 + 8 + 2.5) * GIB
    assert (halved.gpus, halved.gpus_needed) == (2, 8)
    assert served(tensor_parallel=2).gpus_needed == 2
