"""A trainer on one node and two servers on another, one of which is killed as the run goes on.

    python -m performance.servers_nodes [--save]

The nodes are network namespaces of this machine, which takes root. Real vLLM servers on CPUs, by
`rvpo serve`, with the tiny model of the tests, weights over gloo. Runs that are left alone, with
`rollout.staleness` 0 and 2, and runs in which the first server is ended by SIGKILL, with all its
processes, while it generates and while it takes weights; `rvpo serve` starts it again.

A run that is finished is not repeated; remove its folder, or --runs, to measure it again.

Lost are samples that a step should have and has not, doubled are those that it has besides. Where
samples are older than the trainer's weights, the two log-probabilities are of two policies, and
their difference is left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import yaml

from performance.published import add_save_option, publish
from tests.configs import tiny_settings
from tests.processes import kill_all
from tests.tiny import save_tiny_model

ROOT: Final = Path(__file__).resolve().parent.parent
NEAR, FAR, BITS = "10.79.17.1", "10.79.17.2", 30
NODE, LINK = "rvpo-far", "rvpo-near"
PORTS = (8000, 8001)
URLS = tuple(f"http://{FAR}:{port}" for port in PORTS)
PROMPTS, GROUP = 2, 4
READY_S = 300.0
STRUCK_AFTER = 3
"""Steps that are done before a server is killed."""

Moment = Literal["never", "generating", "taking weights"]


@dataclass(frozen=True)
class Case:
    """One run."""

    staleness: int
    moment: Moment
    steps: int
    tokens: int

    @property
    def name(self) -> str:
        return f"staleness-{self.staleness}-{self.moment.replace(' ', '-')}"


CASES = (
    Case(0, "never", 6, 8),
    Case(2, "never", 6, 8),
    Case(0, "generating", 100, 100),
    Case(0, "taking weights", 100, 100),
    Case(2, "generating", 100, 100),
    Case(2, "taking weights", 100, 100),
)


@contextmanager
def far_node() -> Iterator[None]:
    """A second node, joined to this one by one link."""
    commands = [
        f"ip netns add {NODE}",
        f"ip link add {LINK} type veth peer name far netns {NODE}",
        f"ip addr add {NEAR}/{BITS} dev {LINK}",
        f"ip link set {LINK} up",
        f"ip -n {NODE} addr add {FAR}/{BITS} dev far",
        f"ip -n {NODE} link set far up",
        f"ip -n {NODE} link set lo up",
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NODE], check=False)


def settings_of(case: Case, model: Path, folder: Path) -> Path:
    """The file of a run's settings, which its servers read too."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = tiny_settings(
        model,
        folder / "run",
        steps=case.steps,
        data={"train": {"function": "tests.toy:letters", "arguments": {"count": 600}}},
        rollout={
            "engine": {"name": "servers", "urls": list(URLS), "max_context_tokens": 256},
            "prompts_per_step": PROMPTS,
            "samples_per_prompt": GROUP,
            "max_completion_tokens": case.tokens,
            "staleness": case.staleness,
        },
    )
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@contextmanager
def served(config: Path) -> Iterator[None]:
    """Both servers, on the far node."""
    command = ["ip", "netns", "exec", NODE, sys.executable, "-m", "rvpo", "serve"]
    options = ["--config", str(config), "--servers", "2", "--host", FAR, "--port", str(PORTS[0])]
    log = config.parent.parent / "serve.log"
    process = subprocess.Popen(
        [*command, *options], cwd=ROOT, stdout=log.open("ab"), stderr=subprocess.STDOUT
    )
    try:
        until = time.monotonic() + READY_S
        while any(asked(url, "/health") is None for url in URLS):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the servers did not come up: see {log}")
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def asked(url: str, route: str) -> str | None:
    """What a server answers; None where it does not."""
    with suppress(OSError), urllib.request.urlopen(url + route, timeout=5) as response:
        return str(response.read().decode())
    return None


def version_of(url: str) -> str:
    answer = asked(url, "/weight_info")
    return "gone" if answer is None else str(json.loads(answer)["weight_version"])


def is_at(moment: Moment, url: str) -> bool:
    """True where a server is at the moment at which it is to be killed."""
    if moment == "taking weights":
        return '"is_paused":true' in (asked(url, "/is_paused") or "").replace(" ", "")
    for line in (asked(url, "/metrics") or "").splitlines():
        if line.startswith("vllm:num_requests_running"):
            return float(line.rpartition(" ")[2]) > 0
    return False


def kill_server(port: int) -> None:
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            if "vllm.entrypoints.openai.api_server" in words and str(port) in words:
                kill_all(process.pid)


@dataclass
class Seen:
    """What was seen of a run from outside."""

    times: list[float]
    """Seconds at which each step was first seen, from the start of the first one."""
    struck_at: int | None = None
    """Steps that were done when the server was killed."""
    again_at: int | None = None
    """Steps that were done when it had a version of the run again."""
    code: int = 0


def watched(case: Case, config: Path) -> Seen:
    """Run the trainer on this node, and kill as the case says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rvpo", "train", "--config", str(config)],
        cwd=ROOT,
        stdout=(config.parent / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    metrics, seen, begun = config.parent / "run" / "metrics.jsonl", Seen([]), time.monotonic()
    while process.poll() is None:
        steps = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
        now = time.monotonic() - begun
        seen.times += [now] * (steps - len(seen.times))
        if seen.struck_at is None:
            if case.moment != "never" and steps >= STRUCK_AFTER and is_at(case.moment, URLS[0]):
                kill_server(PORTS[0])
                seen.struck_at = steps
        elif seen.again_at is None and version_of(URLS[0]).rpartition("-")[2].isdigit():
            seen.again_at = steps
        time.sleep(0.01)
    seen.code = process.wait()
    return seen


def miscounted(run: Path, steps: int) -> tuple[int, int]:
    """Samples lost and doubled."""
    files = sorted((run / "samples").iterdir())
    rows = [json.loads(line) for file in files for line in file.open()]
    lost = doubled = 0
    for step in range(1, steps + 1):
        there = sum(row["step"] == step for row in rows)
        lost += max(0, PROMPTS * GROUP - there)
        doubled += max(0, there - PROMPTS * GROUP)
    return lost, doubled


def line(case: Case, config: Path) -> str:
    """The table's line of a run, made once."""
    kept = config.parent / "line.md"
    if not kept.exists():
        kept.write_text(measured(case, config))
    return kept.read_text()


def measured(case: Case, config: Path) -> str:
    """Train, and say what came of it."""
    seen = watched(case, config)
    run = config.parent / "run"
    if seen.code:
        last = (config.parent / "log").read_text(errors="replace").splitlines()[-1:]
        return f"| {case.staleness} | {case.moment} | ended with {seen.code}: {last} |"
    rows: list[Mapping[str, Any]] = [json.loads(text) for text in (run / "metrics.jsonl").open()]
    lost, doubled = miscounted(run, case.steps)
    gaps = [after - before for before, after in pairwise(seen.times)]
    differences = [row["sampling/sampling_logp_difference/max"] for row in rows]
    cells = [
        str(case.staleness),
        case.moment + (f", after step {seen.struck_at}" if seen.struck_at else ""),
        str(len(rows)),
        str(lost),
        str(doubled),
        f"{sorted(gaps)[len(gaps) // 2]:.1f}",
        f"{max(gaps):.1f}",
        f"step {seen.again_at}" if seen.again_at else "-",
        ", ".join(map(version_of, URLS)),
        "-" if case.staleness else f"{max(differences):.1e}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "servers-nodes")
    parser.add_argument("--only", help="the runs whose names hold this")
    add_save_option(parser)
    options = parser.parse_args()
    model = save_tiny_model(options.runs / "model")
    heads = ["staleness", "killed", "steps", "lost", "doubled", "median step, s", "longest, s"]
    heads += ["serves again", "versions at the end", "largest difference of log-probabilities"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    chosen = [case for case in CASES if (options.only or "") in case.name]
    for case in chosen:
        if not (options.runs / case.name / "line.md").exists():
            shutil.rmtree(options.runs / case.name, ignore_errors=True)
    configs = {case: settings_of(case, model, options.runs / case.name) for case in chosen}
    with far_node(), served(next(iter(configs.values()))):
        for case, config in configs.items():
            lines.append(line(case, config))
            print(lines[-1], flush=True)
    publish("servers_nodes.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
