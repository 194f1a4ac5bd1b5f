"""The client's promises: it never blocks, loses nothing, doubles nothing, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, wait
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import RewardError
from rvpo.judge.client import client as client_module
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.client.link import Answers
from rvpo.judge.types import Job, Question
from rvpo.runtime.port import hold_port
from tests.judge.client.test_workers import pids, start
from tests.judge.processes import ROOT, wait_until


def job(text: str, *criteria: str) -> Job:
    questions = tuple(Question("criterion", criterion) for criterion in criteria or ("a",))
    return Job(conversation=(("user", "Hello"),), response=text, questions=questions)


def test_answers_are_those_of_their_own_job() -> None:
    with closing(start(workers=2)) as workers, closing(JudgeClient(workers.addresses)) as client:
        texts = [f"response {i}" for i in range(200)]
        futures = [client.submit(job(text, "3", "response")) for text in texts]
        for text, future in zip(texts, futures, strict=True):
            first, second = future.result(20)
            assert (first.reason, first.value, second.value) == (text, float("3" in text), 1)


def test_killed_workers_lose_and_double_nothing(tmp_path: Path) -> None:
    done: Counter[int] = Counter()
    with (
        closing(start("--delay", "0.3", "--pid", str(tmp_path), workers=2)) as workers,
        closing(JudgeClient(workers.addresses)) as client,
    ):
        futures = [client.submit(job(f"{i} a")) for i in range(300)]
        for i, future in enumerate(futures):
            future.add_done_callback(lambda _, i=i: done.update([i]))
        time.sleep(0.15)
        for pid in pids(tmp_path):
            os.kill(pid, signal.SIGKILL)
        assert [future.result(30)[0].reason for future in futures] == [f"{i} a" for i in range(300)]
    assert done == Counter(range(300))


def test_an_answer_that_comes_twice_counts_once() -> None:
    with closing(start("--twice")) as workers, closing(JudgeClient(workers.addresses)) as client:
        for i in range(20):
            assert client.submit(job(f"{i}")).result(20)[0].reason == f"{i}"


def test_submitting_never_waits_for_a_worker_that_does_not_read() -> None:
    large = "x" * 100_000
    with closing(start("--deaf")) as workers, closing(JudgeClient(workers.addresses)) as client:
        started = time.monotonic()
        futures = [client.submit(job(large)) for _ in range(300)]  # 30 MB
        assert time.monotonic() - started < 2
        time.sleep(0.5)
        assert not any(future.done() for future in futures)
        client.cancel()
        assert all(future.cancelled() for future in futures)
        started = time.monotonic()
        client.close()
        assert time.monotonic() - started < 2


def test_cancelled_jobs_are_dropped_everywhere_and_later_ones_are_judged(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    options = ("--delay", "0.5", "--seen", str(seen))
    with closing(start(*options)) as workers, closing(JudgeClient(workers.addresses)) as client:
        dropped = [client.submit(job(f"dropped {i}")) for i in range(50)]
        wait_until(lambda: seen.exists() and len(seen.read_text().splitlines()) == 50)
        client.cancel()
        assert all(future.cancelled() for future in dropped)
        assert client.submit(job("kept")).result(20)[0].reason == "kept"
    texts = [json.loads(line)["text"] for line in seen.read_text().splitlines()]
    assert texts[-2:] == ["cancelled", "kept"]


def test_one_future_can_be_cancelled_alone() -> None:
    slow = start("--delay", "0.2")
    with closing(slow) as workers, closing(JudgeClient(workers.addresses)) as client:
        first, second = client.submit(job("1")), client.submit(job("2"))
        assert first.cancel()
        assert second.result(20)[0].reason == "2"


def test_a_closed_client_leaves_no_thread_and_nobody_waiting() -> None:
    before = threading.enumerate()
    with closing(start("--delay", "60")) as workers:
        client = JudgeClient(workers.addresses)
        future = client.submit(job("1"))
        time.sleep(0.2)
        client.close()
        assert future.cancelled()
        client.close()
        client.cancel()
        with pytest.raises(RuntimeError, match="closed"):
            client.submit(job("2"))
    assert threading.enumerate() == before


def test_a_client_can_be_closed_from_a_callback() -> None:
    with closing(start()) as workers:
        client = JudgeClient(workers.addresses)
        client.submit(job("1")).add_done_callback(lambda _: client.close())
        client._thread.join(10)
        assert not client._thread.is_alive()


def test_an_unreadable_reply_fails_the_jobs_that_wait_for_one() -> None:
    with closing(start("--garble")) as workers, closing(JudgeClient(workers.addresses)) as client:
        for _ in range(2):
            with pytest.raises(RewardError, match="sent a reply that cannot be read"):
                client.submit(job("1")).result(20)


def test_a_worker_that_hangs_up_every_time_is_not_asked_for_ever() -> None:
    with closing(start()) as workers:
        stranger = JudgeAddresses(workers.addresses.workers, "a guess")
        with (
            closing(JudgeClient(stranger)) as client,
            pytest.raises(RewardError, match="closed the connection 8 times without an answer"),
        ):
            client.submit(job("1")).result(20)


def test_a_worker_that_stands_still_does_not_hold_its_jobs_for_ever(tmp_path: Path) -> None:
    with (
        closing(start("--beat", "0.1", "--pid", str(tmp_path))) as workers,
        closing(JudgeClient(workers.addresses, silence_s=1.0)) as client,
    ):
        assert client.submit(job("1")).result(20)[0].reason == "1"
        (pid,) = pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(
                RewardError, match="does not answer: it was silent for 1 s, 3 times"
            ):
                client.submit(job("2")).result(20)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert client.submit(job("3")).result(20)[0].reason == "3"


def test_a_worker_that_stood_still_for_a_while_answers_everything_once(tmp_path: Path) -> None:
    with (
        closing(start("--delay", "0.3", "--beat", "0.05", "--pid", str(tmp_path))) as workers,
        closing(JudgeClient(workers.addresses, silence_s=1.0)) as client,
    ):
        futures = [client.submit(job(f"{i}")) for i in range(20)]
        time.sleep(0.1)
        (pid,) = pids(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(pid, signal.SIGCONT)
        assert [future.result(20)[0].reason for future in futures] == [f"{i}" for i in range(20)]


def test_a_slow_worker_that_says_it_lives_is_left_in_peace(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    options = ("--delay", "3", "--beat", "0.1", "--seen", str(seen))
    with (
        closing(start(*options)) as workers,
        closing(JudgeClient(workers.addresses, silence_s=1.0)) as client,
    ):
        assert client.submit(job("1")).result(20)[0].reason == "1"
    assert len(seen.read_text().splitlines()) == 1


def test_a_worker_out_of_reach_fails_its_jobs_in_time() -> None:
    with closing(hold_port("127.0.0.1")) as held:
        addresses = JudgeAddresses((("127.0.0.1", held.getsockname()[1]),), "token")
        with closing(JudgeClient(addresses, patience_s=0.3)) as client:
            for _ in range(2):
                with pytest.raises(RewardError, match=r"could not be reached .*rank 0"):
                    client.submit(job("1")).result(10)


def test_equal_responses_meet_in_one_worker(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with closing(start("--seen", str(seen), workers=2)) as workers:
        for _ in range(2):  # as two ranks do
            with closing(JudgeClient(workers.addresses)) as client:
                futures: list[Future[Answers]] = [client.submit(job(f"{i}")) for i in range(40)]
                wait(futures, 20)
    met = {(row["text"], *row["share"]) for row in map(json.loads, seen.read_text().splitlines())}
    assert len(met) == 40
    assert {index for _, index, _ in met} == {0, 1}


@given(st.text(), st.text(), st.integers(1, 8))
def test_questions_and_repeats_do_not_part_equal_responses(
    response: str, criterion: str, count: int
) -> None:
    first = Job(conversation=(), response=response, questions=())
    second = Job(
        conversation=(),
        response=response,
        questions=(Question("criterion", criterion),),
        repeat=3,
    )
    route = client_module._route
    assert route(first, count) == route(second, count) < count


def test_judging_imports_no_torch() -> None:
    rooms = {"judge.client": "client, workers, server", "runtime": "process_group, process"}
    imports = "; ".join(f"from rvpo.{room} import {names}" for room, names in rooms.items())
    code = f"import sys; {imports}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_workers_serve_several_ranks_at_once() -> None:
    with closing(start(workers=2)) as workers:
        clients = [JudgeClient(workers.addresses) for _ in range(3)]
        futures = [(i, c.submit(job(f"{i}"))) for i in range(30) for c in clients]
        for i, future in futures:
            assert future.result(20)[0].reason == f"{i}"
        for client in clients:
            client.close()
