"""Ranks and workers prove themselves to each other, and no other user can take a worker's place."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing

import pytest

from rvpo.errors import RewardError
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.handshake import proof
from rvpo.judge.types import Job, Question
from rvpo.runtime.port import hold_port
from tests.judge.client.test_workers import start

NOBODY = 65534
JOB = Job(
    conversation=(("user", "Hello"),),
    response="a secret answer",
    questions=(Question("criterion", "a"),),
)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_no_other_user_can_bind_the_port_of_a_worker_that_is_away() -> None:
    with closing(hold_port("127.0.0.1", socket.SO_REUSEPORT)) as held:
        address = held.getsockname()
        child = os.fork()
        if child == 0:
            os.setuid(NOBODY)
            taken = 0
            for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,)):
                for host in (address[0], "0.0.0.0"):
                    with socket.socket() as thief:
                        for option in options:
                            thief.setsockopt(socket.SOL_SOCKET, option, 1)
                        try:
                            thief.bind((host, address[1]))
                        except OSError:
                            continue
                        taken += 1
            os._exit(taken)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_server_without_the_token_learns_neither_token_nor_job() -> None:
    heard: list[bytes] = []

    def listen(server: socket.socket) -> None:
        with server:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as lines:
                    heard.append(lines.readline())
                    connection.sendall(b'{"nonce": "00", "proof": "00"}\n')
                    heard.append(lines.readline())

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=listen, args=(server,))
    thread.start()
    addresses = JudgeAddresses((server.getsockname(),), "the token")
    with (
        closing(JudgeClient(addresses)) as client,
        pytest.raises(RewardError, match="closed the connection 8 times"),
    ):
        client.submit(JOB).result(30)
    server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert heard
    assert b"token" not in b"".join(heard)
    assert b"secret" not in b"".join(heard)


def test_a_proof_serves_one_side_one_port_and_one_meeting() -> None:
    proofs = {
        proof("token", "rank", 1, "a", "b"),
        proof("token", "worker", 1, "a", "b"),
        proof("token", "rank", 2, "a", "b"),
        proof("token", "rank", 1, "b", "a"),
        proof("other", "rank", 1, "a", "b"),
    }
    assert len(proofs) == 5


def test_a_crowd_of_strangers_keeps_no_rank_out() -> None:
    with closing(start()) as workers:
        crowd = [socket.create_connection(workers.addresses.workers[0]) for _ in range(200)]
        try:
            with closing(JudgeClient(workers.addresses)) as client:
                assert client.submit(JOB).result(20)[0].value == 1
        finally:
            for stranger in crowd:
                stranger.close()
