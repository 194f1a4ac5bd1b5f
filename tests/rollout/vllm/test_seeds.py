"""The seeds of vLLM's requests."""

from __future__ import annotations

from rvpo.rollout.vllm.engine import request_seeds


def test_on_gpus_every_request_has_a_seed_of_its_own_that_follows_from_the_rollouts() -> None:
    seeds = request_seeds(7, 64, on_gpu=True)
    assert len(set(seeds)) == 64
    assert None not in seeds
    assert seeds == request_seeds(7, 64, on_gpu=True)
    assert seeds[:8] == request_seeds(7, 8, on_gpu=True)
    assert not set(seeds) & set(request_seeds(8, 64, on_gpu=True))


def test_on_cpus_requests_leave_seeding_to_torch() -> None:
    assert request_seeds(7, 3, on_gpu=False) == [None] * 3
