"""The engine of servers, with fakes at its seams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import Weights
from rvpo.rollout.servers.engine import ServersEngine, Terms
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Sample
from tests.fakes import make_prompt
from tests.rollout.servers.server import FakeServer, completion_of

LONGEST = 12
"""Tokens of the longest completion."""
RUN = RunLabel("0a1b2c3d")
OTHER_RUN = RunLabel("ffffffff")
NO_WEIGHTS: Weights = ()  # type: ignore[assignment]  # nobody looks at them


class FakeSync:
    """Gives servers a version, and nothing else.

    Args:
        servers: by address; a server that cannot be reached does not get it.
        label: makes the names of versions.
        left_out: last words of servers that do not take it.
    """

    def __init__(
        self, servers: Iterable[FakeServer], model: str | None = None, label: RunLabel = RUN
    ) -> None:
        self._label = label
        self.servers = {server.url: server for server in servers}
        self.left_out: dict[str, str] = {}
        self.model = model
        self.closed = 0

    def send(self, weights: Weights, version: int) -> tuple[str, ...]:
        there = [url for url in self.servers if url not in self.left_out]
        for url in there:
            self.servers[url].version = self._label.of(version)
        return tuple(there)

    def losses(self) -> Mapping[str, str]:
        return self.left_out

    def close(self) -> None:
        self.closed += 1


@contextmanager
def asking(
    encoder: Encoder,
    servers: Sequence[FakeServer],
    *,
    sync: FakeSync | None = None,
    least: int = 1,
    rank: int = 0,
    at_once: int = 64,
    patience_s: float = 3600.0,
    key: str | None = None,
    http: Http | None = None,
    pool: Pool | None = None,
    say: Callable[[str], None] = ignore,
    **limits: Any,
) -> Iterator[ServersEngine]:
    """An engine that knows servers, all of which have the weights of version 1."""
    http = http or Http(key)
    engine = ServersEngine(
        encoder,
        pool or Pool([server.url for server in servers], least, rank),
        http,
        sync or FakeSync(servers),
        RUN,
        Terms(
            sampling=Sampling(temperature=1.0, max_completion_tokens=LONGEST, **limits),
            at_once=at_once,
            patience_s=patience_s,
        ),
        say,
        closing=http.close,
    )
    try:
        engine.load_weights(NO_WEIGHTS, version=1)
        yield engine
    finally:
        engine.close()


def make_prompts(count: int, tokens: int = 0) -> list[Prompt]:
    return [make_prompt(f"p/{i}", f"{i}" + "." * tokens) for i in range(count)]


def is_right(sample: Sample, seed: int, encoder: Encoder, most: int = LONGEST) -> bool:
    """True where a sample is the one that its version of the model draws with a seed."""
    drawn = completion_of(
        sample.prompt_ids, seed, str(sample.policy_version), encoder.stop_ids, most
    )
    return (
        sample.prompt_ids == encoder.encode(sample.prompt)
        and list(sample.completion_ids) == drawn.ids
        and list(sample.logprobs) == drawn.logprobs
        and sample.finish_reason == drawn.finish_reason
        and sample.text == encoder.decode(drawn.ids)
    )
