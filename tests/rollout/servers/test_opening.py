"""The engine from its settings, on several ranks that share the servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from rvpo.errors import EngineError, RankError
from rvpo.rollout import EngineInputs, ServersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.opening import open_servers
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.sync import WeightSync
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.types import Rollout
from tests.fakes import on_each_rank
from tests.rollout.servers.engines import (
    LONGEST,
    NO_WEIGHTS,
    FakeSync,
    is_right,
    make_prompts,
)
from tests.rollout.servers.server import FakeServer


def inputs_of(encoder: Encoder, ranks: Ranks) -> EngineInputs:
    return EngineInputs(
        model_path="model",
        encoder=encoder,
        dtype=torch.float32,
        trust_remote_code=False,
        sampling=Sampling(temperature=1.0, max_completion_tokens=LONGEST),
        concurrent=False,
        seed=0,
        ranks=ranks,
        patience_minutes=60.0,
    )


def generating(
    encoder: Encoder, servers: Sequence[FakeServer], config: ServersConfig
) -> Callable[[Ranks], Rollout]:
    """The work of a rank: three groups of two samples."""

    def sync(
        config: ServersConfig,
        inputs: EngineInputs,
        urls: Sequence[str],
        http: Http,
        label: RunLabel,
    ) -> WeightSync:
        assert list(urls) == [server.url for server in servers]
        return FakeSync(servers, label=label)

    def work(ranks: Ranks) -> Rollout:
        engine = open_servers(config, inputs_of(encoder, ranks), sync)
        try:
            engine.load_weights(NO_WEIGHTS, version=1)
            ranks.wait()
            return engine.generate(make_prompts(3), 2, seed=ranks.rank)
        finally:
            engine.close()

    return work


def encoder_of(model: Path) -> Encoder:
    return Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=None)


def test_ranks_share_servers_evenly_and_have_other_samples(tiny_model: Path) -> None:
    encoder = encoder_of(tiny_model)
    with FakeServer() as a, FakeServer() as b:
        config = ServersConfig(urls=(a.url, b.url))
        rollouts = on_each_rank(generating(encoder, [a, b], config))
    for rank, rollout in enumerate(rollouts):
        assert isinstance(rollout, Rollout)
        for row, sample in enumerate(rollout.samples):
            assert is_right(sample, derived_seed(rank, row), encoder)
    # Two groups of one rank and one of the other: each rank begins at a server of its own.
    assert a.seen.answered == b.seen.answered == 6


def test_ranks_together_ask_a_server_for_no_more_than_it_works_on(tiny_model: Path) -> None:
    encoder = encoder_of(tiny_model)
    with FakeServer() as server:
        config = ServersConfig(urls=(server.url,), concurrency=4)
        on_each_rank(generating(encoder, [server], config))
    assert server.seen.answered == 12
    assert server.seen.most_in_flight <= 4


def test_all_ranks_end_where_servers_do_not_come(tiny_model: Path) -> None:
    with FakeServer() as gone:
        config = ServersConfig(urls=(gone.url,))
    encoder = encoder_of(tiny_model)

    def work(ranks: Ranks) -> None:
        hasty = replace(inputs_of(encoder, ranks), patience_minutes=0.0)
        open_servers(config, hasty, lambda *_: FakeSync([]))

    first, second = on_each_rank(work)
    assert isinstance(first, EngineError)
    assert isinstance(second, RankError)
    assert str(first).startswith("0 of 1 servers answered within 0 minutes, and rollout.engine")
    assert str(first) in str(second)
