"""Where engines run, without any GPU."""

from __future__ import annotations

import os

import pytest
import torch

from rvpo.config.run import RolloutConfig
from rvpo.errors import ConfigError
from rvpo.rollout.vllm.placement import Placement, place
from rvpo.rollout.vllm.transport import settings
from rvpo.runtime.ranks import Ranks


def rollout(**settings: object) -> RolloutConfig:
    return RolloutConfig.model_validate(settings)


def rank(number: int = 0, size: int = 1, device: str = "cpu") -> Ranks:
    return Ranks(rank=number, size=size, device=torch.device(device))


def test_on_cpus_an_engine_is_in_process_only_where_it_is_alone_with_one_trainer() -> None:
    assert place(rollout(), rank()) == Placement("handed")
    assert place(rollout(), rank(size=2)) == Placement("shared")
    assert place(rollout(staleness=1), rank()) == Placement("shared")


def test_a_shared_gpu_is_slept_on_unless_rollouts_are_made_ahead() -> None:
    on_gpu = rank(2, 4, "cuda:2")
    assert place(rollout(), on_gpu) == Placement("handed")
    assert place(rollout(staleness=1), on_gpu, environment={}) == Placement("ipc", "2")
    assert not Placement("ipc", "2").sleeps


def test_a_gpu_of_its_own_is_named_as_cuda_knows_it() -> None:
    apart = rollout(engine={"devices": [4, 5, 6, 7]})
    environment = {"LOCAL_WORLD_SIZE": "4"}
    found = place(apart, rank(6, 8, "cuda:2"), gpus=8, environment=environment)
    assert found == Placement("nccl", "6")
    environment["CUDA_VISIBLE_DEVICES"] = "9,8,7,6, 5,4,3,2"
    found = place(apart, rank(0, 8, "cuda:0"), gpus=8, environment=environment)
    assert found == Placement("nccl", "5")


@pytest.mark.parametrize("devices", [[2], [1, 2], [2, 2], [2, 4]])
def test_devices_that_do_not_exist_or_train_are_refused(devices: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"rollout\.engine\.devices: .*\[2, 3\]"):
        place(
            rollout(engine={"devices": devices}),
            rank(0, 2, "cuda:0"),
            gpus=4,
            environment={"LOCAL_WORLD_SIZE": "2"},
        )


def test_an_engine_started_meanwhile_sees_its_gpu_and_no_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with Placement("nccl", "7").environment():
        assert "RANK" not in os.environ
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    assert os.environ["RANK"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    with Placement("handed").environment():
        assert os.environ["RANK"] == "1"


def test_vllm_is_told_of_a_backend_only_where_it_moves_weights_itself() -> None:
    assert settings(Placement("handed")) == settings(Placement("shared")) == {}
    assert settings(Placement("nccl", "1")) == {"weight_transfer_config": {"backend": "nccl"}}
