"""`rvpo serve` starts one machine's servers, says where they are, and leaves none behind."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import typer

from rvpo.commands.ending import one_sentence
from rvpo.commands.serve import listening_address, number_of_servers, serve
from rvpo.config.run import RunConfig
from rvpo.errors import INTERRUPTED, ConfigError, EngineError
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.runtime.port import LOOPBACK, hold_port
from tests.configs import tiny_config
from tests.judge.processes import alive
from tests.rollout.servers.listening import PROGRAM, notes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_NOTES", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path


def run_of(folder: Path, **engine: Any) -> RunConfig:
    rollout = {"engine": {"name": "servers"} | engine}
    return tiny_config(folder / "model", folder / "run", rollout=rollout)


def free_ports() -> int:
    """The first of two ports that are free at the moment."""
    while True:
        with hold_port(LOOPBACK) as first:
            port: int = first.getsockname()[1]
            try:
                hold_port(LOOPBACK, port=port + 1).close()
            except OSError:
                continue
            return port


def served(config: RunConfig, port: int, **given: Any) -> list[str]:
    """The lines that it prints until it is stopped, which is when all servers answer."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("rollout.engine.urls="):
            raise KeyboardInterrupt

    usual = {"servers": None, "host": LOOPBACK, "logs": None, "program": PROGRAM, "gpus": 0}
    with pytest.raises(KeyboardInterrupt):
        serve(config, port=port, say=say, **(usual | given))
    return said


def test_the_servers_of_a_run_listen_on_consecutive_ports_and_end_with_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_SERVERS", "secret")
    port = free_ports()
    config = run_of(folder, key_variable="KEY_OF_SERVERS", max_context_tokens=64)
    said = served(config, port, servers=2)
    urls = [f"http://127.0.0.1:{number}" for number in (port, port + 1)]
    assert said[-1] == f"rollout.engine.urls=[{','.join(urls)}]"
    for number in (port, port + 1):
        (note,) = notes(folder, number)
        assert note["argv"][:2] == ["--model", str(folder / "model")]
        assert note["argv"][note["argv"].index("--max-model-len") + 1] == "64"
        assert note["environ"]["VLLM_API_KEY"] == "secret"
        assert not alive(note["pid"])
        log = folder / "run-servers" / f"{socket.gethostname()}-{number}.log"
        assert log.exists()
        assert any(str(log) in line for line in said)
    assert not (folder / "run").exists()  # which the run makes, and wants to be free
    assert not any("secret" in line for line in said)


def test_a_server_that_does_not_come_up_says_why_in_a_sentence_and_in_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MODE", "fail")
    port = free_ports()
    with pytest.raises(EngineError, match=r"\(exit status 1\): ValueError: not enough memory"):
        serve(
            run_of(folder),
            servers=1,
            host=LOOPBACK,
            port=port,
            logs=folder / "logs",
            say=lambda line: None,
            program=PROGRAM,
            gpus=0,
        )
    (log,) = (folder / "logs").iterdir()
    assert "not enough memory" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_scheduler_or_a_closed_terminal_ends_it_like_any_other_command(
    number: signal.Signals, folder: Path
) -> None:
    port = free_ports()

    def say(line: str) -> None:
        if line.startswith("rollout.engine.urls="):
            signal.raise_signal(number)

    with pytest.raises(typer.Exit) as caught, one_sentence():
        serve(
            run_of(folder),
            servers=1,
            host=LOOPBACK,
            port=port,
            logs=None,
            say=say,
            program=PROGRAM,
            gpus=0,
        )
    assert caught.value.exit_code == INTERRUPTED
    (note,) = notes(folder, port)
    assert not alive(note["pid"])


def test_servers_are_started_for_a_run_that_has_some(folder: Path) -> None:
    config = tiny_config(folder / "model", folder / "run")
    with pytest.raises(ConfigError, match=r"transformers generates in the run itself"):
        serve(config, servers=1, host=LOOPBACK, port=1, logs=None, say=print, gpus=0)


def test_a_key_that_is_not_there_is_missed_before_anything_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEY_OF_SERVERS", raising=False)
    config = run_of(folder, key_variable="KEY_OF_SERVERS")
    with pytest.raises(ConfigError, match="KEY_OF_SERVERS holds no key"):
        serve(config, servers=1, host=LOOPBACK, port=1, logs=None, say=print, gpus=0)
    assert not (folder / "run-servers").exists()


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found = [(0, 0, 0, "", (each, 0)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


OPEN = ServersConfig(public_addresses=True)
CLOSED = ServersConfig()


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.3", "fd00::3", "169.254.1.2", "100.64.0.9"])
def test_servers_may_listen_on_any_closed_network(host: str) -> None:
    assert listening_address(host, CLOSED) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "8.8.8.8", "2606:4700::1", "192.0.2.1"])
def test_servers_listen_elsewhere_only_where_that_is_said(host: str) -> None:
    with pytest.raises(ConfigError, match=r"write rollout\.engine\.public_addresses=true"):
        listening_address(host, CLOSED)
    assert listening_address(host, OPEN) == host


def test_the_name_of_a_machine_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, "10.0.0.3")
    assert listening_address("node3", CLOSED) == "10.0.0.3"
    resolves_to(monkeypatch, "8.8.8.8")
    with pytest.raises(ConfigError, match=r"node3 is 8\.8\.8\.8, which is of no closed network"):
        listening_address("node3", CLOSED)
    resolves_to(monkeypatch, "127.0.1.1")
    with pytest.raises(ConfigError, match=r"node3 is 127\.0\.1\.1 on this machine, which no other"):
        listening_address("node3", CLOSED)
    resolves_to(monkeypatch)
    with pytest.raises(ConfigError, match="nobody knows 'node3'"):
        listening_address("node3", CLOSED)


@pytest.mark.parametrize(
    ("asked", "each", "gpus", "number"),
    [(None, 1, 8, 8), (None, 2, 8, 4), (None, 3, 8, 2), (2, 4, 8, 2), (1, 8, 8, 1)],
)
def test_a_machine_has_as_many_servers_as_its_gpus_take(
    asked: int | None, each: int, gpus: int, number: int
) -> None:
    assert number_of_servers(asked, ServersConfig(tensor_parallel=each), gpus) == number


@pytest.mark.parametrize(("asked", "number"), [(None, 1), (3, 3)])
def test_on_cpus_there_is_one_unless_more_are_asked_for(asked: int | None, number: int) -> None:
    assert number_of_servers(asked, ServersConfig(tensor_parallel=2), 0) == number


@pytest.mark.parametrize(
    ("asked", "each", "gpus", "remedy"),
    [
        (None, 4, 2, "a server of 4 GPUs need more than this machine's 2; make it smaller"),
        (5, 2, 8, "5 servers of 2 GPUs need more than this machine's 8; make it smaller, or give"),
    ],
)
def test_more_gpus_than_there_are_is_a_sentence(
    asked: int | None, each: int, gpus: int, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        number_of_servers(asked, ServersConfig(tensor_parallel=each), gpus)
    assert remedy in str(caught.value)
