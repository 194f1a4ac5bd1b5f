"""Samples of servers: each once, right, and of the weights that were sent last."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from rvpo.rollout.encoder import Encoder
from rvpo.runtime.seed import derived_seed
from rvpo.types import Rollout
from tests.rollout.servers.engines import asking, is_right, make_prompts
from tests.rollout.servers.server import FakeServer, Faults


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)


def wrong(rollout: Rollout, encoder: Encoder, seed: int, version: int = 1) -> list[int]:
    """The rows whose sample is not the one that was asked for."""
    return [
        row
        for row, sample in enumerate(rollout.samples)
        if not is_right(sample, derived_seed(seed, row), encoder)
        or sample.policy_version != version
    ]


def test_of_five_thousand_requests_with_faults_none_is_wrong_doubled_or_lost(
    encoder: Encoder,
) -> None:
    prompts, heard = make_prompts(625), Counter[int]()
    with ExitStack() as stack:
        faults = Faults.passing(0.3)
        servers = [stack.enter_context(FakeServer(faults, seed=seed)) for seed in range(2)]
        engine = stack.enter_context(asking(encoder, servers))
        rollout = engine.generate(
            prompts, 8, seed=5, on_sample=lambda row, sample: heard.update([row])
        )
    assert heard == Counter(range(5000))
    assert len(rollout.samples) == 5000
    assert [sample.prompt.id for sample in rollout.samples[::8]] == [each.id for each in prompts]
    assert wrong(rollout, encoder, 5) == []
    met = sum((server.seen.faults for server in servers), Counter[str]())
    asked = sum(sum(server.seen.rows.values()) for server in servers)
    assert 0.28 < met.total() / asked < 0.32
    assert len(met) == 15
