"""5,000 verdicts from an endpoint that does everything it should not.

    python -m performance.judge_faults

The endpoint is the tests' own (tests/judge/server.py), in a process of its own. It draws a fault
for each call, and whatever a failing call says of a criterion is the opposite of the truth, so a
verdict that was read where it should not have been is a wrong one. Verdicts go through the same
client and worker as those of a run, with the defaults of `judge:` but for the timeout. Prints what
became of them, and every lost attempt by reason, as the client counted it and as the server
injected it; with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from performance.published import add_save_option, publish
from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.client.client import JudgeClient
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.types import Answer, Job, Question
from tests.judge.server import Faults, criterion, is_met

ROOT = Path(__file__).resolve().parent.parent
CRITERIA = 10
FAULTS = Faults(
    server_error=0.30,
    hang=0.10,
    malformed=0.10,
    drop=0.03,
    drip=0.02,
    storm=0.001,
    storm_s=0.5,
    retry_after="1",
)
LATENCY_S = 0.05


@dataclass
class Endpoint:
    """The server's process: where it listens and, once closed, what it saw."""

    url: str
    seen: dict[str, Any]


@contextmanager
def server() -> Iterator[Endpoint]:
    options = {"faults": asdict(FAULTS), "latency_s": LATENCY_S}
    command = [sys.executable, "-m", "tests.judge.server", json.dumps(options)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        endpoint = Endpoint(json.loads(process.stdout.readline())["url"], {})
        yield endpoint
        process.stdin.close()
        endpoint.seen |= json.loads(process.stdout.readline())


def make_jobs(verdicts: int) -> list[Job]:
    """Ten criteria each, all different, numbered through."""
    return [
        Job(
            conversation=(("user", f"Question {job}"),),
            response=f"Response {job}",
            questions=tuple(
                Question("criterion", criterion(CRITERIA * job + place))
                for place in range(CRITERIA)
            ),
        )
        for job in range(verdicts // CRITERIA)
    ]


def judge(jobs: Sequence[Job], config: JudgeConfig) -> tuple[list[Answer], float]:
    """All answers, in order, and the seconds they took."""
    with (
        closing(JudgeWorkers.start(config)) as workers,
        closing(JudgeClient(workers.addresses)) as client,
    ):
        started = time.monotonic()
        futures = [client.submit(job) for job in jobs]
        answers = list(chain.from_iterable(future.result() for future in futures))
        return answers, time.monotonic() - started


def report(
    answers: Sequence[Answer], seconds: float, seen: dict[str, Any], config: JudgeConfig
) -> str:
    right = sum(
        answer.value == is_met(criterion(number))
        for number, answer in enumerate(answers)
        if answer.value is not None
    )
    failed = Counter(answer.failure for answer in answers if answer.value is None)
    counted: Counter[str] = Counter()
    for answer in answers:
        counted.update(answer.usage.attempt_failures)
    injected = Counter(seen["failures"])
    requests = sum(answer.usage.requests for answer in answers)
    (endpoint,) = config.endpoints
    faults = ", ".join(f"{name} {value}" for name, value in asdict(FAULTS).items())
    summary = [
        ("verdicts", f"{len(answers):,}"),
        ("right", f"{right:,}"),
        ("wrong", f"{len(answers) - right - failed.total():,}"),
        ("failed, after all attempts", f"{failed.total():,} ({failed.total() / len(answers):.1%})"),
        ("calls, by the client / the server", f"{requests:,} / {seen['calls']:,}"),
        (
            "attempts lost, by the client / the server",
            f"{counted.total():,} / {injected.total():,}",
        ),
        ("most calls in flight", f"{seen['most_in_flight']} of {endpoint.concurrency}"),
        ("seconds", f"{seconds:,.0f}"),
    ]
    reasons = sorted(counted | injected, key=lambda reason: -injected[reason])
    return "\n".join(
        [
            f"Faults: {faults}. Good answers after {LATENCY_S:g} s.",
            "",
            f"Settings: timeout_s {config.timeout_s:g}, attempts {config.attempts}, deadline_s "
            f"{config.deadline_s:g}, concurrency {endpoint.concurrency}, structured "
            f"{str(config.structured).lower()}, hedge_quantile {config.hedge_quantile}, workers "
            f"{config.workers}.",
            "",
            *table(["", ""], summary),
            "",
            *table(
                [
                    "reason",
                    "attempts injected by the server",
                    "attempts counted by the client",
                    "verdicts failed in the end",
                ],
                [
                    (reason, f"{injected[reason]:,}", f"{counted[reason]:,}", f"{failed[reason]:,}")
                    for reason in reasons
                ],
            ),
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=5000)
    parser.add_argument(
        "--concurrency", type=int, default=EndpointConfig(url="http://x").concurrency
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        help="timeout_s; with the default of a run, hangs take long",
    )
    add_save_option(parser)
    options = parser.parse_args()
    with server() as endpoint, tempfile.TemporaryDirectory() as folder:
        config = JudgeConfig(
            model="judge",
            endpoints=(EndpointConfig(url=endpoint.url, concurrency=options.concurrency),),
            cache=Path(folder) / "cache.sqlite",
            timeout_s=options.timeout,
        )
        answers, seconds = judge(make_jobs(options.verdicts), config)
    text = report(answers, seconds, endpoint.seen, config)
    publish("judge_faults.md", text, options)


if __name__ == "__main__":
    main()
