"""Adapters on their way to servers, which read them from a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from safetensors.torch import load_file

from rvpo.errors import EngineError, RankError
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.weights.adapters import Adapters
from rvpo.runtime.ranks import Ranks
from tests.adapters import make_state
from tests.fakes import on_each_rank
from tests.rollout.servers.engines import RUN
from tests.rollout.servers.server import FakeServer

CONFIG = LoraConfig(rank=2, alpha=4)
PROMPT = (1, 2, 3)


class AdapterServer(FakeServer):
    """Has the adapters that it could read, and answers by them.

    Args:
        reads: it sees the trainer's disk.
        binds: it applies an adapter, whose effect is seen where B is large enough.
    """

    def __init__(self, *, reads: bool = True, binds: bool = True) -> None:
        super().__init__(answer=self._likelihoods)
        self.reads = reads
        self.binds = binds
        self.least = 0.0
        self.names: list[str] = []
        self.sizes: dict[str, float] = {}
        self.broken = ""
        """Route that fails."""

    async def _weights(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        route = request.match_info["route"]
        if route == self.broken:
            return web.json_response({"error": "out of memory"}, status=500)
        if route == "v1/load_lora_adapter":
            folder = Path(body["lora_path"])
            if not (self.reads and folder.is_dir()):
                words = f"Loading lora x failed: No adapter found for {folder}"
                self.seen.calls.append((route, body))
                return web.json_response({"error": {"message": words}}, status=404)
            assert folder.is_absolute()
            state = load_file(folder / "adapter_model.safetensors")
            assert len(state) == 2
            b = next(tensor for name, tensor in state.items() if ".lora_B." in name)
            self.sizes[body["lora_name"]] = float(b.abs().max())
            self.names.append(body["lora_name"])
            self.seen.calls.append((route, body))
            return web.Response(text="Success: added")
        if route == "v1/unload_lora_adapter":
            if body["lora_name"] not in self.names:
                return web.json_response({"error": "no such adapter"}, status=404)
            self.names.remove(body["lora_name"])
        return await super()._weights(request)

    def _likelihoods(self, body: dict[str, Any]) -> web.StreamResponse:
        name = body["model"]
        if name is not None and name not in self.names:
            return web.json_response({"error": f"The model {name} does not exist"}, status=404)
        assert body["sampling_params"]["max_tokens"] == 1
        seen = name is not None and self.binds and self.sizes[name] > self.least
        shift = 0.25 if seen else 0.0
        found = [{str(token): {"logprob": -token - shift}} for token in body["token_ids"][1:]]
        return web.json_response({"prompt_logprobs": [None, *found], "choices": []})


@contextmanager
def syncing(
    servers: Sequence[FakeServer], folder: Path, ranks: Ranks, again_s: Sequence[float] = ()
) -> Iterator[Adapters]:
    http = Http()
    urls = [server.url for server in servers]
    sync = Adapters(http, urls, ranks, RUN, folder, CONFIG, "model", PROMPT, again_s=again_s)
    try:
        yield sync
    finally:
        sync.close()
        http.close()


@pytest.fixture
def servers() -> Iterator[list[AdapterServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(AdapterServer()) for _ in range(2)]  # type: ignore[misc]


def routes(server: FakeServer) -> list[str]:
    return [route for route, _ in server.seen.calls]


def test_all_servers_have_one_adapter_under_a_new_name_each_time(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    with syncing(servers, tmp_path / "adapters", ranks) as sync:
        names = []
        for version in (0, 1, 2):
            served = sync.send(make_state(b=float(version)), version)
            assert set(served) == {server.url for server in servers}
            assert all(server.version == RUN.of(version) for server in servers)
            assert all(server.names == [sync.model] for server in servers)
            assert [path.name for path in (tmp_path / "adapters").iterdir()] == [sync.model]
            names.append(sync.model)
        assert len(set(names)) == 3
        told = [body for route, body in servers[0].seen.calls if route == "v1/load_lora_adapter"]
        assert not any(body.get("load_inplace") for body in told)
    assert not (tmp_path / "adapters").exists()


def test_nothing_is_computed_while_an_adapter_is_loaded(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    with syncing(servers, tmp_path, ranks) as sync:
        sync.send(make_state(), 1)
    for server in servers:
        assert routes(server)[:4] == [
            "pause",
            "v1/load_lora_adapter",
            "update_weight_version",
            "resume",
        ]
        assert server.seen.calls[0][1] == {"mode": "wait", "clear_cache": "true"}


@pytest.mark.parametrize(
    "broken", ["pause", "v1/load_lora_adapter", "update_weight_version", "resume"]
)
def test_a_server_that_fails_is_left_out_with_its_words_until_the_next_adapter(
    broken: str, servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    with syncing(servers, tmp_path, ranks) as sync:
        servers[0].broken = broken
        assert sync.send(make_state(), 1) == (servers[1].url,)
        assert "out of memory" in sync.losses()[servers[0].url]
        servers[0].broken = ""
        assert set(sync.send(make_state(), 2)) == {server.url for server in servers}
        assert sync.losses() == {}


def test_a_server_that_was_started_again_gets_the_newest(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    with syncing(servers, tmp_path, ranks) as sync:
        sync.send(make_state(), 1)
        servers[0].restart()
        servers[0].names.clear()
        assert set(sync.send(make_state(), 2)) == {server.url for server in servers}
        assert servers[0].names == [sync.model]


def test_a_server_that_does_not_see_the_disk_stops_the_run(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    servers[1].reads = False
    with (
        syncing(servers, tmp_path, ranks, again_s=(0.0, 0.0)) as sync,
        pytest.raises(EngineError, match=r"cannot read .*; let output be a folder of a disk"),
    ):
        sync.send(make_state(), 0)
    assert routes(servers[1]).count("v1/load_lora_adapter") == 3


def test_a_server_whose_answers_do_not_change_stops_the_run_at_its_start(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    servers[1].binds = False
    with (
        syncing(servers, tmp_path, ranks) as sync,
        pytest.raises(EngineError, match="the same with an adapter and without it"),
    ):
        sync.send(make_state(b=0.0), 0)


@pytest.mark.parametrize("b", [0.0, 1e-9])
def test_a_small_update_is_no_alarm(
    b: float, servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    for server in servers:
        server.least = 1e-3
    with syncing(servers, tmp_path, ranks) as sync:
        for version in (0, 1):
            assert len(sync.send(make_state(b=b), version)) == 2
            assert all(server.names == [sync.model] for server in servers)


def test_an_effect_is_asked_for_once_of_each_server(
    servers: list[AdapterServer], tmp_path: Path, ranks: Ranks
) -> None:
    with syncing(servers, tmp_path, ranks) as sync:
        for version in (1, 2, 3):
            sync.send(make_state(), version)
        assert [len(server.seen.bodies) for server in servers] == [2, 2]
        assert not {body["model"] for body in servers[0].seen.bodies} & {sync.model}
        assert routes(servers[0])[-4:].count("v1/load_lora_adapter") == 1


def test_one_rank_writes_and_all_know_what_came_of_it(
    servers: list[AdapterServer], tmp_path: Path
) -> None:
    def send(ranks: Ranks) -> tuple[tuple[str, ...], str | None]:
        with syncing(servers, tmp_path / "adapters", ranks) as sync:
            served = sync.send(make_state(), 1), sync.model
            ranks.wait()
        return served

    first, second = on_each_rank(send)
    assert first == second
    for server in servers:
        told = [body for route, body in server.seen.calls if route == "v1/load_lora_adapter"]
        assert [body["lora_name"] for body in told][1:] == [first[1]]  # after the probe


def test_a_disk_that_is_full_fails_on_every_rank(
    servers: list[AdapterServer], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    def send(ranks: Ranks) -> None:
        with syncing(servers, tmp_path / "file", ranks) as sync:
            sync.send(make_state(), 1)

    first, second = on_each_rank(send)
    assert "cannot be written" in str(first)
    assert isinstance(second, RankError)
