"""Episodes on servers: one that dies in the middle of them costs none of them anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from rvpo.environments import EnvironmentConfig, WorldReply
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Message, Prompt, Rollout
from tests.rollout.servers.engines import asking, make_prompts
from tests.rollout.servers.server import FakeServer
from tests.worlds import Nagging, NaggingSession


class Watched(Nagging):
    """Calls a function before each answer."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__(times=2)
        self.before = before

    def session(self, prompt: Prompt, seed: int) -> NaggingSession:
        return WatchedSession(self.before)


class WatchedSession(NaggingSession):
    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__(times=2, is_broken=False)
        self._before = before

    async def answer(self, message: Message) -> WorldReply:
        await asyncio.to_thread(self._before)
        return await super().answer(message)


def rolled(tiny_model: Path, dies_at: int | None) -> tuple[Rollout, list[int]]:
    """Sixteen episodes, and the samples that each of two servers made; the first one dies when the
    world has been asked so many times."""
    read = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    encoder = replace(read, max_context_tokens=4096)
    asked: list[None] = []
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer(latency_s=0.002)) for _ in range(2)]

        def before() -> None:
            asked.append(None)
            if len(asked) == dies_at:
                servers[0].kill()

        engine = stack.enter_context(asking(encoder, servers))
        sampling = Sampling(temperature=1.0, max_completion_tokens=400)
        world = Watched(before)
        config = EnvironmentConfig()
        episodes = EpisodeEngine(engine, world, config, encoder, sampling, ignore)
        with closing(episodes):
            rollout = episodes.generate(make_prompts(4), 4, seed=5)
        return rollout, [server.seen.answered for server in servers]


@pytest.mark.parametrize("dies_at", [1, 10, 25])
def test_a_server_that_dies_in_the_middle_of_episodes_changes_none_of_them(
    tiny_model: Path, dies_at: int
) -> None:
    whole, counts = rolled(tiny_model, None)
    found, (dying, other) = rolled(tiny_model, dies_at)
    assert [s.completion_ids for s in found.samples] == [s.completion_ids for s in whole.samples]
    assert not any(sample.missing for sample in found.samples)
    assert max(len(s.episode.turns) for s in found.samples if s.episode is not None) == 5
    # When it dies its world has heard `dies_at` turns, and each episode may have one more.
    assert dying <= dies_at + len(whole.samples)
    assert dying + other >= sum(counts)
