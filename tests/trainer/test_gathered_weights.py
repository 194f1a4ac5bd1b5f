"""A sharded model's weights, gathered by all ranks for those that want them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rvpo.config.run import RunConfig
from rvpo.runtime.ranks import Ranks
from rvpo.trainer import zero
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config


@pytest.fixture
def policy(tiny_model: Path, ranks: Ranks) -> ZeroPolicy:
    config: RunConfig = tiny_config(tiny_model)
    return ZeroPolicy(config, str(tiny_model), ranks)


def test_a_rank_that_only_walks_gathers_what_a_rank_that_iterates_gathers(
    policy: ZeroPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[list[str]] = []
    real = zero._gathered

    def noted(bucket: list[tuple[str, Any]]) -> Any:
        gathered.append([name for name, _ in bucket])
        return real(bucket)

    monkeypatch.setattr(zero, "_gathered", noted)
    monkeypatch.setattr(zero, "GATHER_ELEMENTS", 10_000)
    weights = policy.weights()
    before = dict(weights)
    by_iterating = list(gathered)
    gathered.clear()
    assert weights.walk() is None  # it keeps nothing
    assert gathered == by_iterating
    assert len(gathered) > 2
    assert all(torch.equal(before[name], weight) for name, weight in weights)


def test_weights_in_the_form_of_a_checkpoint_are_walked_through_as_they_are(
    policy: ZeroPolicy,
) -> None:
    assert policy.weights().as_saved().walk() is None
