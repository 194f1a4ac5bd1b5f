"""Judge calls a second through a worker, beside a bare aiohttp loop and the openai client.

    python performance/judge_load.py

A loopback server answers every call after 50 ms. Each client runs in a process of its own with the
same prompts and the same number of calls in flight: 96 prompts × 16 responses × 10 criteria by
default. The server counts what is in flight and the most requests in any 60 s. With
`--requests-per-minute` the worker is held to a limit; the other two know none. Prints one table,
with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from performance.published import add_save_option, publish
from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.client.client import JudgeClient
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.prompt import messages
from rvpo.judge.types import Job, Question
from rvpo.judge.verdict import read, schema

ROOT = Path(__file__).resolve().parent.parent
CRITERIA = 10
LATENCY_S = 0.05
WORDS = ("the", "patient", "should", "rest", "and", "see", "a", "doctor", "when", "fever", "lasts")
FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": schema(Question("criterion", ""), True),
    },
}
REPLY = json.dumps({"reason": "It says so in its second sentence.", "met": True})


@dataclass(frozen=True)
class Measurement:
    """Of one client, in its own words."""

    seconds: float
    verdicts: int
    cpu_s: float
    """Of the calling process; for the client of rvpo, what the trainer would notice."""
    worker_cpu_s: float | None
    memory: list[int]
    """MB of the calling process, after each quarter of the verdicts."""
    worker_memory: list[int]
    longest_submit_ms: float | None


def make_jobs(verdicts: int) -> list[Job]:
    """Responses that all differ, each with ten criteria; about 3 kB of prompt with the rules."""
    rng = random.Random(0)

    def prose(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    return [
        Job(
            conversation=(("user", f"Question {i // 16}: {prose(40)}"),),
            response=f"Answer {i}: {prose(160)}",
            questions=tuple(Question("criterion", f"{c}: {prose(20)}") for c in range(CRITERIA)),
        )
        for i in range(verdicts // CRITERIA)
    ]


# --- the server -----------------------------------------------------------------------------------


class Server:
    """Answers everything with one verdict, and keeps count."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.most_in_flight = 0
        self.calls = 0
        self.latest: deque[float] = deque()  # within 60 s
        self.most_per_minute = 0
        choice = {"index": 0, "message": {"role": "assistant", "content": REPLY}}
        choice["finish_reason"] = "stop"
        usage = {"prompt_tokens": 700, "completion_tokens": 20, "total_tokens": 720}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "judge"}
        self.reply = json.dumps(completion | {"choices": [choice], "usage": usage}).encode()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/count":
            counts = (self.calls, self.most_in_flight, self.most_per_minute)
            return web.json_response(counts)
        self._enter()
        await request.read()
        await asyncio.sleep(LATENCY_S)
        self.in_flight -= 1
        return web.Response(body=self.reply, content_type="application/json")

    def _enter(self) -> None:
        now = time.monotonic()
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.latest.append(now)
        while self.latest[0] < now - 60:
            self.latest.popleft()
        self.most_per_minute = max(self.most_per_minute, len(self.latest))


async def serve() -> None:
    runner = web.ServerRunner(web.Server(Server().handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[union-attr]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def server() -> Iterator[str]:
    """The base address of a server in a process of its own."""
    command = [sys.executable, __file__, "--part", "server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


# --- the clients ----------------------------------------------------------------------------------


def measure_rvpo(options: argparse.Namespace) -> Measurement:
    """Jobs through `JudgeClient` to one worker, cache on."""
    jobs = make_jobs(options.verdicts)
    endpoint = EndpointConfig(
        url=options.url,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
    )
    memory = Memory(len(jobs))
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache.sqlite"
        config = JudgeConfig(model="judge", endpoints=(endpoint,), cache=cache, deadline_s=3600)
        with (
            closing(JudgeWorkers.start(config)) as workers,
            closing(JudgeClient(workers.addresses)) as client,
        ):
            (worker,) = children()
            worker_cpu, cpu, started = cpu_s(worker), time.process_time(), time.monotonic()
            futures, slowest = [], 0.0
            for job in jobs:
                before = time.perf_counter()
                futures.append(client.submit(job))
                slowest = max(slowest, time.perf_counter() - before)
            for future in as_completed(futures):
                assert all(answer.value == 1 for answer in future.result())
                memory.note()
            seconds, cpu = time.monotonic() - started, time.process_time() - cpu
            worker_cpu = cpu_s(worker) - worker_cpu
    return Measurement(
        seconds=seconds,
        verdicts=len(jobs) * CRITERIA,
        cpu_s=cpu,
        worker_cpu_s=worker_cpu,
        memory=memory.own,
        worker_memory=memory.children,
        longest_submit_ms=1000 * slowest,
    )


def measure_aiohttp(options: argparse.Namespace) -> Measurement:
    """One session, as many tasks as calls in flight, nothing else."""

    async def run(bodies: Iterable[dict[str, Any]], note: Callable[[], None]) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def call(body: dict[str, Any]) -> str:
                url = f"{options.url}/chat/completions"
                data = json.dumps(body).encode()
                headers = {"Content-Type": "application/json"}
                async with session.post(url, data=data, headers=headers) as response:
                    content: str = json.loads(await response.read())["choices"][0]["message"][
                        "content"
                    ]
                    return content

            await drive(bodies, call, options.concurrency, note)

    return measure_loop(options, run)


def measure_openai(options: argparse.Namespace) -> Measurement:
    """One AsyncOpenAI, as it comes, without retries."""
    from openai import AsyncOpenAI

    async def run(bodies: Iterable[dict[str, Any]], note: Callable[[], None]) -> None:
        async with AsyncOpenAI(base_url=options.url, api_key="none", max_retries=0) as client:

            async def call(body: dict[str, Any]) -> str:
                completion = await client.chat.completions.create(**body)
                return completion.choices[0].message.content or ""

            await drive(bodies, call, options.concurrency, note)

    return measure_loop(options, run)


async def drive(
    bodies: Iterable[dict[str, Any]],
    call: Callable[[dict[str, Any]], Awaitable[str]],
    concurrency: int,
    note: Callable[[], None],
) -> None:
    """All calls, `concurrency` at a time, each verdict read."""
    rest = iter(bodies)

    async def work() -> None:
        for body in rest:
            assert read(Question("criterion", ""), await call(body))[0] == 1
            note()

    await asyncio.gather(*(work() for _ in range(concurrency)))


def measure_loop(
    options: argparse.Namespace,
    run: Callable[[Iterable[dict[str, Any]], Callable[[], None]], Awaitable[None]],
) -> Measurement:
    jobs = make_jobs(options.verdicts)
    settings = {"model": "judge", "max_tokens": 512, "temperature": 0, "response_format": FORMAT}
    bodies = (
        settings | {"messages": messages(job, question, True)}
        for job in jobs
        for question in job.questions
    )
    memory = Memory(len(jobs) * CRITERIA)
    cpu, started = time.process_time(), time.monotonic()
    asyncio.run(run(bodies, memory.note))  # type: ignore[arg-type]
    return Measurement(
        seconds=time.monotonic() - started,
        verdicts=len(jobs) * CRITERIA,
        cpu_s=time.process_time() - cpu,
        worker_cpu_s=None,
        memory=memory.own,
        worker_memory=[],
        longest_submit_ms=None,
    )


class Memory:
    """Resident memory, in MB, at each quarter of the way."""

    def __init__(self, total: int) -> None:
        self.own: list[int] = []
        self.children: list[int] = []
        self._marks = [max(1, total * quarter // 4) for quarter in (1, 2, 3, 4)]
        self._done = 0

    def note(self) -> None:
        self._done += 1
        if self._done in self._marks:
            self.own.append(resident(os.getpid()))
            self.children += [resident(pid) for pid in children()]


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") // 10**6


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children() -> list[int]:
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


# --- the table ------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[argparse.Namespace], Measurement]] = {
    "rvpo": measure_rvpo,
    "aiohttp": measure_aiohttp,
    "openai": measure_openai,
}
NAMES = {
    "rvpo": "rvpo, one worker, cache on",
    "aiohttp": "bare aiohttp loop",
    "openai": "openai AsyncOpenAI",
}
HEADER = (
    "| client | calls/s | CPU s of the caller | CPU s of the worker | MB of the caller | "
    "MB of the worker | most in flight | most in 60 s |"
)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def row(part: str, options: argparse.Namespace) -> str:
    with server() as base:
        command = [sys.executable, __file__, "--part", part, "--url", f"{base}/v1"]
        command += ["--verdicts", str(options.verdicts), "--concurrency", str(options.concurrency)]
        if options.requests_per_minute is not None:
            command += ["--requests-per-minute", str(options.requests_per_minute)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment())
        with urllib.request.urlopen(f"{base}/count") as reply:
            calls, in_flight, per_minute = json.load(reply)
    result = Measurement(**json.loads(done.stdout))
    if calls != result.verdicts:
        print(f"{part}: {result.verdicts} verdicts took {calls} calls", file=sys.stderr)
    if result.longest_submit_ms is not None:
        print(f"{part}: the longest submit took {result.longest_submit_ms:.2f} ms")
    worker_cpu = "" if result.worker_cpu_s is None else f"{result.worker_cpu_s:.1f}"
    cells = [
        NAMES[part],
        f"{result.verdicts / result.seconds:,.0f}",
        f"{result.cpu_s:.1f}",
        worker_cpu,
        " ".join(map(str, result.memory)),
        " ".join(map(str, result.worker_memory)),
        f"{in_flight} of {options.concurrency}",
        f"{per_minute:,}{limit(part, options)}",
    ]
    return f"| {' | '.join(cells)} |"


def limit(part: str, options: argparse.Namespace) -> str:
    if part != "rvpo" or options.requests_per_minute is None:
        return ""
    return f" of {options.requests_per_minute:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=96 * 16 * CRITERIA)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--requests-per-minute", type=int)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave the others out")
    parser.add_argument("--part", choices=[*PARTS, "server"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part == "server":
        asyncio.run(serve())
    elif options.part:
        print(json.dumps(asdict(PARTS[options.part](options))))
    else:
        table(options)


def table(options: argparse.Namespace) -> None:
    parts = options.only or list(PARTS)
    if "openai" in parts and importlib.util.find_spec("openai") is None:
        print("The openai client is left out: it is not installed (pip install openai).")
        parts = [part for part in parts if part != "openai"]
    rows = [row(part, options) for part in parts]
    text = "\n".join([HEADER, "|" + " --- |" * (HEADER.count("|") - 1), *rows])
    publish("judge_load.md", text, options)


if __name__ == "__main__":
    main()
