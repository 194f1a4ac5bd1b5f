"""Servers of a run's own come up together, come back, and never outlive the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import pytest

from rvpo.errors import ConfigError, EngineError
from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.own import KeptServer, OwnServers, pauses, start_own
from rvpo.rollout.servers.place import ServerPlaces
from rvpo.rollout.servers.settings import ServersConfig, StartConfig
from rvpo.runtime.port import LOOPBACK, hold_port
from rvpo.runtime.vllm_server import ServerStart, VllmServer
from tests.judge.processes import ROOT, alive, wait_until
from tests.rollout.servers.listening import PROGRAM, notes

SERVED = Served(path="/models/demo", dtype="bfloat16", trust_remote_code=False, seed=1)
TWO = ServersConfig(start=StartConfig(servers=2))


def serve(start: ServerStart) -> VllmServer:
    return VllmServer(replace(start, program=PROGRAM))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_NOTES", str(tmp_path))
    return tmp_path


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_all_are_up_when_they_say_so_come_back_when_killed_and_are_gone_when_closed(
    folder: Path,
) -> None:
    said: list[str] = []
    own, urls = start_own(TWO, SERVED, LOOPBACK, say=said.append, serve=serve)
    with closing(own):
        own.ready(20)
        assert len(set(urls)) == 2
        for url in urls:
            with urlopen(f"{url}/health", timeout=20) as answer:
                assert answer.status == 200
        killed, other = map(port_of, urls)
        os.kill(notes(folder, killed)[0]["pid"], signal.SIGKILL)
        wait_until(lambda: len(notes(folder, killed)) == 2)
        assert len(notes(folder, other)) == 1
        (sentence,) = said
        assert "'/models/demo' ended during the run (SIGKILL)" in sentence
        assert sentence.endswith("it is started again in 1 s")
        pids = [notes(folder, port)[-1]["pid"] for port in (killed, other)]
        assert all(map(alive, pids))
    assert not any(map(alive, pids))
    own.close()


def test_one_that_does_not_come_up_ends_the_run_with_its_last_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "fail")
    own, _ = start_own(TWO, SERVED, LOOPBACK, serve=serve)
    with closing(own), pytest.raises(EngineError) as caught:
        own.ready(20)
    assert str(caught.value) == (
        "rollout.engine.start: vLLM did not start on '/models/demo' (exit status 1): "
        "ValueError: not enough memory"
    )


PARENT = """
import os
from tests.rollout.servers.test_own import SERVED, TWO, serve, start_own
own, urls = start_own(TWO, SERVED, "127.0.0.1", serve=serve)
own.ready(20)
print(*urls, flush=True)
import time; time.sleep(60)
"""


def test_a_trainer_that_is_killed_leaves_none(folder: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as stdout:
        ports = [port_of(url) for url in stdout.readline().decode().split()]
        pids = [notes(folder, port)[0]["pid"] for port in ports]
        assert len(pids) == 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(map(alive, pids)))


class Scripted:
    """A server that ends when it is told to."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_closed = False

    def end_of(self) -> str | None:
        return self.reason

    def is_up(self) -> bool:
        return True

    def ask(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def scripted(servers: list[Scripted]) -> Callable[[], VllmServer]:
    def start() -> VllmServer:
        servers.append(Scripted())
        return cast(VllmServer, servers[-1])

    return start


def test_a_server_that_ends_again_and_again_is_given_up_with_a_last_sentence() -> None:
    servers: list[Scripted] = []
    said: list[str] = []
    kept = KeptServer(scripted(servers), restarts=2, say=said.append)
    for now in range(0, 100, 2):
        servers[-1].reason = "it ran out of memory"
        kept.look(now)
        kept.look(now + 1.9)
    assert len(servers) == 3
    assert all(server.is_closed for server in servers)
    assert said == [
        "it ran out of memory; it is started again in 1 s",
        "it ran out of memory; it is started again in 2 s",
        "it ran out of memory; it ended too often and is not started again",
    ]
    assert not kept.is_up()


def test_pauses_grow_to_five_minutes_and_begin_anew_after_a_steady_while() -> None:
    assert list(islice(pauses(), 11)) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    servers: list[Scripted] = []
    said: list[str] = []
    kept = KeptServer(scripted(servers), say=said.append)

    def end_at(now: float) -> None:
        servers[-1].reason = "gone"
        kept.look(now)
        kept.look(now + 500)

    end_at(1000)
    end_at(2000)
    kept.look(10_000)
    end_at(10_001)
    assert [sentence[-3:] for sentence in said] == ["1 s", "2 s", "1 s"]


def test_a_pause_is_kept() -> None:
    servers: list[Scripted] = []
    kept = KeptServer(scripted(servers))
    servers[0].reason = "gone"
    kept.look(100.0)
    kept.look(100.9)
    assert len(servers) == 1
    kept.look(101.0)
    assert len(servers) == 2


def test_a_start_that_fails_counts_as_an_end() -> None:
    servers: list[Scripted] = []
    said: list[str] = []
    start = scripted(servers)

    def full() -> VllmServer:
        if servers:
            raise OSError(28, "No space left on device")
        return start()

    kept = KeptServer(full, restarts=2, say=said.append)
    servers[0].reason = "gone"
    for now in range(10):
        kept.look(float(now))
    assert len(said) == 3
    assert "No space left" in said[1]
    assert said[2].endswith("is not started again")


def test_where_one_cannot_be_started_the_others_are_ended() -> None:
    servers: list[Scripted] = []
    closed: list[bool] = []
    start = scripted(servers)

    def second_fails(_: ServerStart) -> VllmServer:
        if servers:
            raise EngineError("there is no place for a folder")
        return start()

    one = ServerStart(where="", model="", options=(), environment={}, cpu_kv_cache_gib=1)
    with pytest.raises(EngineError, match="no place"):
        OwnServers([one, one], serve=second_fails, closing=lambda: closed.append(True))
    assert servers[0].is_closed
    assert closed == [True]


def test_servers_listen_on_closed_networks_alone_unless_public_ones_are_allowed() -> None:
    with pytest.raises(ConfigError, match=r"servers on 0\.0\.0\.0 could be given other weights"):
        start_own(TWO, SERVED, "0.0.0.0", serve=serve)


def test_each_has_its_share_of_the_gpus_in_turn() -> None:
    with closing(ServerPlaces(LOOPBACK, 2, [4, 5, 6, 7], environment={})) as places:
        assert [each.visible for each in places.all] == ["4,5", "6,7"]
        assert places.all[0].port != places.all[1].port
    seen = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c"}
    with closing(ServerPlaces(LOOPBACK, 2, [1, 2], environment=seen)) as places:
        assert [each.visible for each in places.all] == ["GPU-b", "GPU-c"]
    with closing(ServerPlaces(LOOPBACK, 1)) as places:
        assert places.all[0].visible is None


def test_a_port_that_somebody_listens_on_is_refused_and_the_others_let_go() -> None:
    with closing(hold_port(LOOPBACK)) as taken:
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(ConfigError, match=f"port {port} of {LOOPBACK} cannot be used"):
            ServerPlaces(LOOPBACK, 1, first_port=port)
        with pytest.raises(ConfigError, match="cannot be used"):
            ServerPlaces(LOOPBACK, 2, first_port=port - 1)


@pytest.mark.parametrize("port", [65535, 70000])
def test_ports_end_at_65535(port: int) -> None:
    with pytest.raises(ConfigError, match="ports end at 65535"):
        ServerPlaces(LOOPBACK, 2, first_port=port)


def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is no address of this machine"):
        ServerPlaces("192.0.2.1", 1)
