"""The worker as a process: its life, its protocol, and what it holds back."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.handshake import proof
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.main import PENDING_PER_CALL
from tests.judge.server import FakeEndpoint, Faults, criterion, is_met

TOKEN = "let me in"
ALIVE = {"alive": True}


class Process:
    """A worker, ended with the context by closing its standard input."""

    def __init__(
        self,
        config: JudgeConfig,
        share: tuple[int, int] = (0, 1),
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "rvpo.judge.worker.main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        setup = {
            "config": config.model_dump(mode="json"),
            "token": TOKEN,
            "host": "127.0.0.1",
            "port": port,
            "share": share,
            "where": "judge",
            "books": None,
            "template": None,
        }
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(json.dumps(setup).encode() + b"\n")
        self.popen.stdin.flush()
        self.hello = json.loads(self.popen.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> tuple[int, str, str]:
        """Its exit status and the rest of its output."""
        out, err = self.popen.communicate(timeout=10)
        return self.popen.returncode, out.decode(), err.decode()

    def connect(self, token: str = TOKEN) -> Client:
        return Client(self.hello["port"], token)


class Client:
    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.lines = self.socket.makefile("rb")
        mine = "0" * 64
        self.send({"nonce": mine})
        reply = json.loads(self.lines.readline())
        self.proven = reply["proof"] == proof(token, "worker", port, mine, reply["nonce"])
        self.send({"proof": proof(token, "rank", port, mine, reply["nonce"])})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def send(self, *messages: Any) -> None:
        self.socket.sendall(b"".join(json.dumps(m).encode() + b"\n" for m in messages))

    def read(self) -> bytes:
        """The next line that says more than that the worker lives; empty at the end."""
        while json.loads(line := self.lines.readline() or b"{}") == ALIVE:
            pass
        return b"" if line == b"{}" else line

    def receive(self) -> tuple[int, list[Answer]]:
        reply = json.loads(self.read())
        return reply["id"], [Answer.from_json(answer) for answer in reply["answers"]]


def settings(endpoint: FakeEndpoint, concurrency: int = 8, **options: Any) -> JudgeConfig:
    endpoints = (EndpointConfig(url=endpoint.url, concurrency=concurrency),)
    return JudgeConfig(**{"model": "judge", "endpoints": endpoints, "cache": None, **options})


def message(number: int, *items: int, response: str = "An answer.") -> dict[str, Any]:
    questions = tuple(Question("criterion", criterion(item)) for item in items)
    job = Job(conversation=(("user", "Hello?"),), response=response, questions=questions)
    return {"id": number, "job": job.to_json()}


def soon(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_a_worker_needs_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'rvpo.config.run', 'rvpo.types'}"
    code = f"import sys, rvpo.judge.worker.main; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_job_of_every_client_is_answered() -> None:
    with FakeEndpoint(latency_s=0.01) as endpoint, Process(settings(endpoint)) as worker:
        with worker.connect() as one, worker.connect() as other:
            for client in (one, other):
                client.send(*(message(n, 3 * n, 3 * n + 1, 3 * n + 2) for n in range(20)))
            for client in (one, other):
                replies = dict(client.receive() for _ in range(20))
                assert replies.keys() == set(range(20))
                for number, answers in replies.items():
                    truth = [is_met(criterion(3 * number + k)) for k in range(3)]
                    assert [answer.value for answer in answers] == truth
        assert worker.end()[0] == 0


def test_a_wrong_word_closes_the_connection() -> None:
    with FakeEndpoint() as endpoint, Process(settings(endpoint)) as worker:
        with worker.connect("let me out") as client:
            assert not client.proven
            assert client.lines.readline() == b""
        with closing(socket.create_connection(("127.0.0.1", worker.hello["port"]))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert stranger.recv(100) == b""
        assert endpoint.seen.arrivals == []
        with worker.connect() as client:
            client.send(message(1, 1))
            assert client.receive()[0] == 1


def test_cancel_drops_what_is_unanswered_and_nothing_else() -> None:
    with (
        FakeEndpoint(latency_s=0.3) as endpoint,
        Process(settings(endpoint, concurrency=1)) as worker,
        worker.connect() as client,
        worker.connect() as other,
    ):
        client.send(*(message(n, n) for n in range(50)))
        other.send(message(7, 70))
        assert soon(lambda: len(endpoint.seen.arrivals) == 1)
        client.send({"cancel": True}, message(99, 99))
        assert client.receive()[0] == 99
        assert other.receive()[0] == 7
    assert len(endpoint.seen.arrivals) == 3


def test_the_end_of_a_connection_drops_its_jobs() -> None:
    with FakeEndpoint(Faults(hang=1.0)) as endpoint, Process(settings(endpoint)) as worker:
        with worker.connect() as client:
            client.send(*(message(n, n) for n in range(100)))
            assert soon(lambda: endpoint.seen.in_flight == 8)
        assert soon(lambda: endpoint.seen.in_flight == 0)


def flood(client: Client) -> None:
    """Send jobs until the worker takes no more."""
    line = json.dumps(message(0, 1, response="long " * 2000)).encode() + b"\n"
    client.socket.settimeout(1.0)
    while True:
        client.socket.sendall(line)


def test_a_worker_that_is_behind_makes_the_sender_wait_and_notices_when_it_leaves() -> None:
    with (
        FakeEndpoint(Faults(hang=1.0)) as endpoint,
        Process(settings(endpoint, concurrency=2)) as worker,
    ):
        with worker.connect() as client:
            # Resets the connection when it is closed, instead of delivering what is under way.
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with pytest.raises(TimeoutError):
                flood(client)
            status = Path(f"/proc/{worker.popen.pid}/status").read_text()
            resident_kib = int(status.split("VmRSS:")[1].split()[0])
            assert resident_kib < 150 * 1024
            assert endpoint.seen.in_flight == 1  # equal jobs are one call
            client.socket.settimeout(30.0)
            for _ in range(2):  # it lives, although it reads nothing
                assert json.loads(client.lines.readline()) == ALIVE
        assert soon(lambda: endpoint.seen.in_flight == 0)
        assert worker.end()[0] == 0


def test_jobs_are_taken_up_as_the_endpoint_keeps_up() -> None:
    with (
        FakeEndpoint(latency_s=0.05) as endpoint,
        Process(settings(endpoint, concurrency=2)) as worker,
        worker.connect() as busy,
        worker.connect() as late,
    ):
        busy.send(*(message(n, n) for n in range(100)))
        assert busy.receive()[0] < 2 * PENDING_PER_CALL
        late.send(message(0, 1000))
        late.receive()
        # The late client does not wait for all that was there before.
        assert len(endpoint.seen.arrivals) < 40


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_a_worker_ends_in_order_with_work_in_flight(how: str, tmp_path: Path) -> None:
    with (
        FakeEndpoint(Faults(hang=1.0)) as endpoint,
        Process(settings(endpoint, cache=tmp_path / "cache.sqlite")) as worker,
        worker.connect() as client,
    ):
        client.send(*(message(n, n) for n in range(100)))
        assert soon(lambda: endpoint.seen.in_flight == 8)
        started = time.monotonic()
        if how == "SIGTERM":
            worker.popen.send_signal(signal.SIGTERM)
            worker.popen.wait(5)
        assert worker.end() == (0, "", "")
        assert time.monotonic() - started < 5
        assert client.read() == b""
        assert soon(lambda: endpoint.seen.in_flight == 0)


def test_ctrl_c_is_left_to_the_trainer() -> None:
    with (
        FakeEndpoint(latency_s=0.2) as endpoint,
        Process(settings(endpoint)) as worker,
        worker.connect() as client,
    ):
        client.send(message(1, 1))
        worker.popen.send_signal(signal.SIGINT)
        assert client.receive()[0] == 1


def test_a_killed_worker_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    config_of = {"concurrency": 4, "cache": tmp_path / "cache.sqlite"}
    with FakeEndpoint(latency_s=0.02) as endpoint:
        with Process(settings(endpoint, **config_of)) as worker, worker.connect() as client:
            client.send(*(message(n, n) for n in range(200)))
            answered = dict(client.receive() for _ in range(60))
            worker.popen.kill()
        asked = len(endpoint.seen.arrivals)
        with Process(settings(endpoint, **config_of)) as worker, worker.connect() as client:
            client.send(*(message(n, n) for n in range(200)))
            again = dict(client.receive() for _ in range(200))
    assert all(again[n][0].usage.cached for n in answered)
    assert all(again[n][0].value == answered[n][0].value for n in answered)
    assert all(again[n][0].value == is_met(criterion(n)) for n in range(200))
    repeated = [count for count in endpoint.seen.answered.values() if count > 1]
    assert len(repeated) <= 8  # in flight when it died
    assert len(endpoint.seen.arrivals) - asked <= 140


def test_workers_divide_the_limits_between_them() -> None:
    with FakeEndpoint(latency_s=0.05) as endpoint:
        config = settings(endpoint, concurrency=5, workers=2)
        with (
            Process(config, (0, 2)) as one,
            Process(config, (1, 2)) as other,
            one.connect() as first,
            other.connect() as second,
        ):
            first.send(message(1, *range(40)))
            second.send(message(1, *range(40, 80)))
            first.receive()
            second.receive()
    assert endpoint.seen.most_in_flight == 5


def error_of(config: JudgeConfig, **options: Any) -> str:
    worker = Process(config, **options)
    worker.popen.wait(60)  # by itself, and not because nobody speaks to it any more
    assert worker.end() == (2, "", "")
    assert worker.hello.keys() == {"error"}
    return str(worker.hello["error"])


def test_what_keeps_a_worker_from_starting_is_one_sentence(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        config = settings(endpoint)
        keyed = config.endpoints[0].model_copy(update={"key_variable": "RVPO_NO_SUCH_KEY"})
        missing = error_of(config.model_copy(update={"endpoints": (keyed,)}))
        assert missing.startswith("judge.endpoints[0].key_variable: RVPO_NO_SUCH_KEY holds no API")
        (tmp_path / "cache.sqlite").write_text("This is no database. " * 100)
        damaged = error_of(settings(endpoint, cache=tmp_path / "cache.sqlite"))
        assert damaged.startswith("judge.cache: ")
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert "cannot listen" in error_of(config, port=other.getsockname()[1])


def test_the_key_stays_between_the_environment_and_the_endpoint(tmp_path: Path) -> None:
    with FakeEndpoint(Faults(server_error=0.5)) as endpoint:
        config = settings(endpoint, cache=tmp_path / "cache.sqlite")
        keyed = config.endpoints[0].model_copy(update={"key_variable": "RVPO_TEST_KEY"})
        config = config.model_copy(update={"endpoints": (keyed,)})
        with Process(config, environment={"RVPO_TEST_KEY": "sk-secret"}) as worker:
            with worker.connect() as client:
                client.send(message(1, *range(10)))
                reply = client.read()
            status, out, err = worker.end()
    assert endpoint.seen.headers[0]["Authorization"] == "Bearer sk-secret"
    kept = reply + out.encode() + err.encode()
    kept += b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert status == 0
    assert b"sk-secret" not in kept
