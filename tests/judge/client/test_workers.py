"""Judge workers: they start, come back on their port, and end with the process that has them."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.client.link import Answers
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.types import Job, Question
from tests.judge.processes import ROOT, alive, wait_until
from tests.judge.server import FakeEndpoint, criterion, is_met

FAKE = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
REAL = (sys.executable, "-m", "rvpo.judge.worker.main")
JOB = Job(conversation=(), response="yes", questions=(Question("criterion", "yes"),))


def config(workers: int = 1, **settings: Any) -> JudgeConfig:
    endpoint = EndpointConfig(url="http://127.0.0.1:9/v1")
    return JudgeConfig(
        model="judge", endpoints=(endpoint,), cache=None, workers=workers, **settings
    )


def start(*options: str, workers: int = 1) -> JudgeWorkers:
    return JudgeWorkers.start(config(workers), program=(*FAKE, *options))


def pids(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.iterdir()]


@pytest.mark.parametrize("program", [FAKE, REAL], ids=["fake", "real"])
def test_closed_workers_leave_no_process_thread_or_port(program: tuple[str, ...]) -> None:
    before = threading.enumerate()
    workers = JudgeWorkers.start(config(2), program=program)
    processes = [worker._process.pid for worker in workers._workers]
    assert all(map(alive, processes))
    started = time.monotonic()
    workers.close()
    assert time.monotonic() - started < 5
    assert not any(map(alive, processes))
    assert threading.enumerate() == before
    for address in workers.addresses.workers:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    workers.close()


@pytest.mark.parametrize("program", [(*FAKE, "--delay", "60"), REAL], ids=["fake", "real"])
def test_when_the_judge_is_gone_every_waiting_job_and_every_later_one_learns_why(
    program: tuple[str, ...],
) -> None:
    gone = threading.Event()
    workers = JudgeWorkers.start(
        config(2), program=program, judge_end=lambda: "the judge is gone" if gone.is_set() else None
    )
    with closing(workers), closing(JudgeClient(workers.addresses)) as client:
        gone.set()
        for _ in range(2):
            with pytest.raises(RewardError, match="the judge is gone"):
                client.submit(JOB).result(20)


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    workers = start("--stubborn", "--pid", str(tmp_path))
    (pid,) = pids(tmp_path)
    workers.close()
    assert not alive(pid)


def test_workers_know_no_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "JUDGE_KEY"):
        monkeypatch.setenv(name, "1")
    with closing(start("--pid", str(tmp_path))):
        (note,) = tmp_path.iterdir()
        names = set(json.loads(note.read_text()))
    assert not names & {"RANK", "WORLD_SIZE", "MASTER_ADDR"}
    assert "JUDGE_KEY" in names  # a worker reads the keys itself


def test_ctrl_c_does_not_reach_workers(tmp_path: Path) -> None:
    with closing(start("--pid", str(tmp_path))):
        (pid,) = pids(tmp_path)
        assert os.getsid(pid) == pid != os.getsid(0)


def test_a_token_is_never_shown_and_travels_whole() -> None:
    with closing(start()) as workers:
        addresses = workers.addresses
    assert len(addresses.token) == 64
    assert addresses.token not in f"{addresses!r} {addresses}"
    assert pickle.loads(pickle.dumps(addresses)) == addresses
    plain = json.loads(json.dumps(asdict(addresses)))
    rebuilt = JudgeAddresses(tuple((h, p) for h, p in plain["workers"]), plain["token"])
    assert rebuilt == addresses


def test_a_template_that_is_edited_is_for_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "judge.txt"
    file.write_text("<<response>> as first written <<criterion>>")
    with FakeEndpoint() as endpoint:
        settings = config(template=file)
        settings = settings.model_copy(update={"endpoints": (EndpointConfig(url=endpoint.url),)})
        asked = Job(conversation=(), response="a", questions=(Question("criterion", criterion(1)),))
        with (
            closing(JudgeWorkers.start(settings, program=REAL)) as workers,
            closing(JudgeClient(workers.addresses)) as client,
        ):
            client.submit(asked).result(20)
            file.write_text("no template any more")
            os.kill(workers._workers[0].process.pid, signal.SIGKILL)
            client.submit(asked).result(20)
    assert len(endpoint.seen.bodies) == 2
    for body in endpoint.seen.bodies:
        assert "as first written" in body["messages"][-1]["content"]


def test_a_killed_worker_comes_back_on_its_port(tmp_path: Path) -> None:
    with closing(start("--pid", str(tmp_path))) as workers:
        (first,) = pids(tmp_path)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(pids(tmp_path)) == 2)
        with closing(JudgeClient(workers.addresses)) as client:
            assert client.submit(JOB).result(20)[0].value == 1


def test_a_worker_that_keeps_dying_fails_the_jobs_of_every_rank(tmp_path: Path) -> None:
    job = Job(conversation=(), response="poison", questions=JOB.questions)
    with (
        closing(start("--kill-on", "poison", "--pid", str(tmp_path))) as workers,
        closing(JudgeClient(workers.addresses)) as first,
        closing(JudgeClient(workers.addresses)) as second,
    ):
        with pytest.raises(RewardError, match=r"died 5 times within 60 s .*SIGKILL"):
            first.submit(job).result(30)
        for client in (second, first):
            with pytest.raises(RewardError, match=r"died 5 times within 60 s .*SIGKILL"):
                client.submit(JOB).result(5)
    assert len(pids(tmp_path)) == 5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--die", "no module named aiohttp"), "exit status 3, no module named aiohttp"),
        (("--refuse", "the cache is locked"), "did not start: the cache is locked"),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    options: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(RewardError, match=sentence):
        start(*options, "--pid", str(tmp_path), workers=2)
    assert not any(map(alive, pids(tmp_path)))


def test_a_foreign_host_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"judge\.host: .*192\.0\.2\.1.*127\.0\.0\.1"):
        JudgeWorkers.start(config(1), "192.0.2.1", FAKE)


PARENT = """
import os, sys, time
from tests.judge.client.test_workers import config
from rvpo.judge.client.workers import JudgeWorkers
workers = JudgeWorkers.start(config(2), program=sys.argv[1:])
fork = os.fork()
if fork:
    print(fork, *(worker._process.pid for worker in workers._workers), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("program", [FAKE, REAL], ids=["fake", "real"])
def test_a_killed_parent_leaves_no_worker_even_where_a_fork_of_it_lives(
    program: tuple[str, ...],
) -> None:
    command = [sys.executable, "-c", PARENT, *program]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as stdout:
        fork, *processes = map(int, stdout.readline().split())
        try:
            assert len(processes) == 2
            assert all(map(alive, processes))
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            wait_until(lambda: not any(map(alive, processes)))
            assert alive(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


def test_real_workers_killed_in_mid_job_tell_the_truth_once_and_then_from_the_cache(
    tmp_path: Path,
) -> None:
    jobs = [
        Job(
            conversation=(("user", "Hello"),),
            response=f"Response {i}",
            questions=tuple(Question("criterion", criterion(10 * i + j)) for j in range(10)),
        )
        for i in range(100)
    ]
    done: Counter[int] = Counter()

    def judge(addresses: JudgeAddresses, *victims: int) -> list[Answers]:
        with closing(JudgeClient(addresses)) as client:
            futures = [client.submit(job) for job in jobs]
            for i, future in enumerate(futures):
                future.add_done_callback(lambda _, i=i: done.update([i]))
            for part, victim in enumerate(victims, 1):
                wait_until(lambda part=part: len(done) > part * 15)
                os.kill(victim, signal.SIGKILL)
            return [future.result(60) for future in futures]

    with FakeEndpoint(latency_s=0.05, keep_bodies=False) as endpoint:
        settings = JudgeConfig(
            model="judge",
            endpoints=(EndpointConfig(url=endpoint.url),),
            cache=tmp_path / "cache.sqlite",
            workers=2,
        )
        with closing(JudgeWorkers.start(settings)) as workers:
            victims = [worker._process.pid for worker in workers._workers]
            answers = judge(workers.addresses, *victims)
            assert done == Counter(range(100))
            asked = sum(endpoint.seen.answered.values())
            again = judge(workers.addresses)
            assert sum(endpoint.seen.answered.values()) == asked
    for job, given, cached in zip(jobs, answers, again, strict=True):
        truth = [float(is_met(question.text)) for question in job.questions]
        assert [answer.value for answer in given] == truth
        assert [answer.value for answer in cached] == truth
        assert all(answer.usage.cached for answer in cached)
    # Made twice: calls in flight when a worker died, and those whose verdict was on its way into
    # the cache.
    assert 1000 <= asked <= 1000 + 2 * 2 * 64


def test_a_talkative_worker_fills_no_disk() -> None:
    with closing(start()) as workers:
        (worker,) = workers._workers
        size: Callable[[], int] = lambda: os.fstat(worker._log.file.fileno()).st_size  # noqa: E731
        os.write(worker._log.file.fileno(), b"x" * 2**21)
        wait_until(lambda: size() <= 2**16)  # its last words stay
        before = size()
        os.write(worker._log.file.fileno(), b"last\n")
        assert size() == before + 5
