"""Hundreds of verdicts through a worker while its endpoint does everything it should not."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from rvpo.judge.types import Answer
from tests.judge.server import FakeEndpoint, Faults, criterion, is_met
from tests.judge.worker.test_main import Process, message, settings

JOBS, QUESTIONS = 40, 10
EVERYTHING = Faults(
    server_error=0.30, hang=0.10, malformed=0.10, drop=0.03, drip=0.02, storm=0.004, storm_s=0.3
)


def judge(endpoint: FakeEndpoint, cache: Path, **options: float | int) -> list[Answer]:
    """Whether each of the criteria is met, in order."""
    # Long enough that no call times out but those that shall, on a busy machine too.
    config = settings(endpoint, concurrency=48, cache=cache, timeout_s=1.5, **options)
    with Process(config) as worker, worker.connect() as client:
        for number in range(JOBS):
            client.send(message(number, *range(number * QUESTIONS, (number + 1) * QUESTIONS)))
        replies = dict(client.receive() for _ in range(JOBS))
    return list(chain.from_iterable(replies[number] for number in range(JOBS)))


@pytest.mark.slow
def test_faults_cost_time_and_never_a_verdict(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    with FakeEndpoint(EVERYTHING, latency_s=0.01, seed=3) as endpoint:
        answers = judge(endpoint, cache, attempts=5)
    wrong = [
        number
        for number, answer in enumerate(answers)
        if answer.value is not None and answer.value != is_met(criterion(number))
    ]
    assert wrong == []
    assert sum(answer.value is None for answer in answers) < 0.15 * len(answers)
    counted: Counter[str] = Counter()
    for answer in answers:
        counted.update(answer.usage.attempt_failures)
    assert counted == endpoint.seen.failures
    assert len(counted) >= 10
    assert sum(answer.usage.requests for answer in answers) == len(endpoint.seen.arrivals)

    with FakeEndpoint() as endpoint:
        again = judge(endpoint, cache)
    assert len(endpoint.seen.arrivals) == sum(answer.value is None for answer in answers)
    assert all(answer.value == is_met(criterion(number)) for number, answer in enumerate(again))


def test_when_everything_fails_every_verdict_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    with FakeEndpoint(Faults(server_error=0.5, hang=0.5)) as endpoint:
        answers = judge(endpoint, tmp_path / "cache.sqlite", deadline_s=2.0, attempts=3)
    assert {answer.value for answer in answers} == {None}
    reasons = {"timeout", "http 500", "http 502", "http 503", "http 529"}
    assert {answer.failure for answer in answers} <= reasons
