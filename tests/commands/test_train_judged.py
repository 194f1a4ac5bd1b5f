"""Judged runs from the command line: real workers, a real HTTP server, and everything going wrong.

The verdict that the server gives depends on all it is shown, so one that went to another sample,
or to another criterion, is a wrong one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rvpo.judge.prompt import messages
from rvpo.judge.types import Job, Question
from rvpo.runtime.port import hold_port
from tests.commands.forked import ForkedRun
from tests.commands.test_train import (
    count_steps,
    metrics,
    samples,
    start,
    train,
    train_ranks,
    write_config,
)
from tests.judge.processes import alive, wait_until
from tests.judge.server import FakeEndpoint, Faults, completion, criterion, verdict

pytestmark = pytest.mark.slow

STEPS = 3
CRITERIA = {
    "first": criterion(1),
    "second": criterion(2),
    "fault": {"text": criterion(3), "polarity": "negative"},
}
PATIENCE_S = 240
"""For what takes seconds where nothing else runs."""
PER_STEP = 2 * 4 * len(CRITERIA)
"""Verdicts: prompts × samples × criteria."""
COLUMNS = {f"judged/{name}" for name in CRITERIA}


def truth(shown: str) -> bool:
    return bool(hashlib.sha256(shown.encode()).digest()[0] % 2)


def judged(endpoint: FakeEndpoint | str, cache: Path, **judge: Any) -> dict[str, Any]:
    """Sections of a run that asks an endpoint; `judge` replaces settings of its section."""
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    limits = {name: judge.pop(name) for name in ("concurrency", "key_variable") if name in judge}
    return {
        "steps": STEPS,
        "checkpoint": {"every": 1},
        "rewards": {"judged": {"rubric": "channels", "criteria": CRITERIA}},
        "judge": {
            "model": "judge",
            "endpoints": [{"url": url, **limits}],
            "cache": str(cache),
            "timeout_s": 30,
            **judge,
        },
    }


@contextmanager
def started(config: Path, *arguments: str) -> Iterator[ForkedRun]:
    """A run under way, which does not outlive a test that fails."""
    with start(config, *arguments) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Every process below one, with its command line."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            try:
                words = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield child, words
            yield from descendants(child)


def workers(process: ForkedRun) -> list[int]:
    return [pid for pid, words in descendants(process.pid) if "rvpo.judge.worker.main" in words]


def check_verdicts(run: Path) -> None:
    """Every verdict is there and is the one that the server gave to just this question."""
    for row in samples(run):
        assert set(row["remarks"]) == COLUMNS
        for column in COLUMNS:
            remark = row["remarks"][column]
            job = Job(
                conversation=tuple((turn["role"], turn["content"]) for turn in row["prompt"]),
                response=row["completion"],
                questions=(),
            )
            question = Question("criterion", remark["question"])
            met = truth(messages(job, question, reasons=True)[-1]["content"])
            assert remark["answer"] == ("met" if met else "not met")
            assert row["scores"][column] == (met if column != "judged/fault" else not met)


def learned(run: Path) -> list[dict[str, float]]:
    """The metrics that depend on scores alone, and not on what it took to get them."""
    return [
        {name: value for name, value in row.items() if not name.startswith("judge/")}
        for row in metrics(run)
    ]


@dataclass(frozen=True)
class Finished:
    run: Path
    cache: Path
    calls: int


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    cache = folder / "cache.sqlite"
    with FakeEndpoint(truth=truth) as endpoint:
        train(write_config(tiny_model, folder, **judged(endpoint, cache)))
    return Finished(folder / "run", cache, len(endpoint.seen.arrivals))


def test_a_judged_run_trains_on_true_verdicts_and_says_what_they_took(
    undisturbed: Finished,
) -> None:
    run = undisturbed.run
    check_verdicts(run)
    assert len(samples(run)) == STEPS * 8
    rows = metrics(run)
    assert len(rows) == STEPS
    for step, row in enumerate(rows, 1):
        assert row["judge/verdicts"] == row["judge/judged/verdicts"] == PER_STEP
        assert row["judge/failed_frac"] == row["judge/skipped_groups"] == 0
        assert row["judge/input_tokens"] == 100 * row["judge/requests"]
        assert row["judge/wait_exposed_s"] >= 0
        mine = [sample["scores"] for sample in samples(run) if sample["step"] == step]
        for name in CRITERIA:
            mean = sum(scores[f"judged/{name}"] for scores in mine) / len(mine)
            assert row[f"rewards/judged/{name}/mean"] == pytest.approx(mean)
    assert sum(row["judge/requests"] for row in rows) == undisturbed.calls
    assert any(sample["advantage"] for sample in samples(run))


def test_the_same_run_again_asks_nothing_and_learns_the_same(
    undisturbed: Finished, tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth) as endpoint:
        train(write_config(tiny_model, tmp_path, **judged(endpoint, undisturbed.cache)))
    assert len(endpoint.seen.arrivals) == 1  # in the rehearsal
    run = tmp_path / "run"
    assert sum(row["judge/requests"] for row in metrics(run)) == 1
    assert [row["judge/cached_frac"] for row in metrics(run)] == [1] * STEPS
    assert learned(run) == learned(undisturbed.run)
    assert samples(run) == samples(undisturbed.run)


def test_a_run_with_its_criteria_together_learns_the_same_by_a_third_of_the_calls(
    undisturbed: Finished, tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth) as endpoint:
        sections = judged(endpoint, tmp_path / "cache.sqlite", criteria_per_call="all")
        train(write_config(tiny_model, tmp_path, **sections))
    run = tmp_path / "run"
    check_verdicts(run)
    assert learned(run) == learned(undisturbed.run)
    assert samples(run) == samples(undisturbed.run)
    calls = len(endpoint.seen.arrivals)
    assert sum(row["judge/requests"] for row in metrics(run)) == calls
    assert calls - 1 == (undisturbed.calls - 1) / len(CRITERIA)  # one of the rehearsal


def test_a_worker_killed_in_mid_step_loses_no_verdict_and_doubles_none(
    undisturbed: Finished, tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth, latency_s=0.15) as endpoint:
        sections = judged(endpoint, tmp_path / "cache.sqlite", concurrency=2)
        with started(write_config(tiny_model, tmp_path, **sections)) as process:
            wait_until(lambda: len(endpoint.seen.arrivals) > PER_STEP + 6, PATIENCE_S)
            (victim,) = workers(process)
            os.kill(victim, signal.SIGKILL)
            assert count_steps(tmp_path / "run") == 1
            output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output
    run = tmp_path / "run"
    assert samples(run) == samples(undisturbed.run)
    assert learned(run) == learned(undisturbed.run)
    assert [row["judge/failed_frac"] for row in metrics(run)] == [0] * STEPS
    # Only two calls in flight, and at most as many on their way to the cache, were made again.
    assert undisturbed.calls <= len(endpoint.seen.arrivals) <= undisturbed.calls + 4


def test_a_judge_that_fails_stops_the_run_before_it_trains_and_resuming_completes_it(
    undisturbed: Finished, tiny_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def refuse(body: Any) -> web.Response | None:
        return web.Response(status=500) if len(failing.seen.arrivals) > 1 + 2 * PER_STEP else None

    with hold_port("127.0.0.1") as held:
        port = held.getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1"
        sections = judged(url, tmp_path / "cache.sqlite", attempts=2, deadline_s=5)
        config = write_config(tiny_model, tmp_path, **sections)
        with FakeEndpoint(truth=truth, port=port, script=refuse) as failing:
            output = train(config, code=2)
        check_stopped(output, run, "http 500")
        output = train(config, "--resume", code=2)  # nobody listens now
        assert "gave no verdict in a rehearsal: connection" in " ".join(output.split())
        assert "sharding the model" not in output
        check_kept(output, run)
        with FakeEndpoint(truth=truth, port=port):
            train(config, "--resume")
    assert samples(run) == samples(undisturbed.run)
    assert learned(run) == learned(undisturbed.run)


def check_stopped(output: str, run: Path, reason: str) -> None:
    words = " ".join(output.split())
    assert f"judge: {PER_STEP} of the {PER_STEP} verdicts of this step are missing" in words
    assert reason in words
    assert "more than judge.budget.step=0.1 allows; nothing was trained on them" in words
    check_kept(output, run)


def check_kept(output: str, run: Path) -> None:
    assert "Traceback" not in output
    assert count_steps(run) == 2
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-000001", "step-000002"}


def test_two_ranks_and_two_workers_keep_the_limit_of_the_endpoint(
    tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth, latency_s=0.05) as endpoint:
        sections = judged(endpoint, tmp_path / "cache.sqlite", concurrency=3, workers=2)
        sections |= {"steps": 2, "distributed": {"processes": 2}}
        train_ranks(write_config(tiny_model, tmp_path, **sections))
    assert endpoint.seen.most_in_flight == 3
    run = tmp_path / "run"
    check_verdicts(run)
    assert len(samples(run)) == 2 * 8
    assert [row["judge/verdicts"] for row in metrics(run)] == [PER_STEP] * 2
    assert sum(row["judge/requests"] for row in metrics(run)) == len(endpoint.seen.arrivals)


def test_ctrl_c_in_mid_step_ends_in_order_and_a_killed_trainer_takes_its_worker_along(
    tiny_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with FakeEndpoint(truth=truth, latency_s=0.5) as endpoint:
        sections = judged(endpoint, tmp_path / "cache.sqlite") | {"steps": 500}
        with started(write_config(tiny_model, tmp_path, **sections)) as process:
            wait_until(lambda: count_steps(run) == 1 and endpoint.seen.in_flight, PATIENCE_S)
            below = [pid for pid, _ in descendants(process.pid)]
            assert workers(process)
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, output
        assert "stopped; go on with: rvpo train" in " ".join(output.split())
        assert "Traceback" not in output
        assert not any(map(alive, below))
        done = count_steps(run)
        assert (run / "checkpoints" / f"step-{done:06d}").is_dir()
        check_verdicts(run)

        with started(run / "config.yaml", "--resume") as process:
            wait_until(lambda: count_steps(run) > done and endpoint.seen.in_flight, PATIENCE_S)
            (worker,) = workers(process)
            process.kill()
            process.communicate(timeout=PATIENCE_S)
        wait_until(lambda: not alive(worker))
        check_verdicts(run)


def test_a_key_is_nowhere_but_in_the_environment_and_on_the_wire(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"sk-{secrets.token_hex(24)}"
    monkeypatch.setenv("JUDGE_TEST_KEY", key)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"

    def repeat_the_key(body: dict[str, Any]) -> web.Response | None:
        seen = endpoint.seen
        said = seen.headers[-1]["Authorization"]
        if count_steps(run) == 2:
            return web.Response(status=401, text=said, reason=said)
        replies = {
            0: lambda: web.Response(status=500, text=said, reason=said, headers={"X-Key": said}),
            1: lambda: web.Response(status=429, text=said, headers={"Retry-After": "0"}),
            2: lambda: web.json_response(completion(f"{said}, is it met?")),
            3: lambda: web.Response(text=said),
            4: lambda: web.json_response(completion(verdict(True, said))),
        }
        reply = replies.get(len(seen.arrivals) % 8)
        return None if reply is None else reply()

    faults = Faults(server_error=0.1, hang=0.05, malformed=0.1, drop=0.1, drip=0.02)
    with FakeEndpoint(faults, script=repeat_the_key) as endpoint:
        sections = judged(
            endpoint,
            tmp_path / "cache.sqlite",
            key_variable="JUDGE_TEST_KEY",
            concurrency=4,
            timeout_s=0.5,
            deadline_s=10,
            budget={"step": 0.5},
        )
        config = write_config(tiny_model, tmp_path, report={"trackers": ["wandb"]}, **sections)
        with started(config) as process:
            wait_until(lambda: len(endpoint.seen.arrivals) > 10, PATIENCE_S)
            commands = [words for _, words in descendants(process.pid)]
            (victim,) = workers(process)
            os.kill(victim, signal.SIGKILL)
            output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, output
    assert "http 401" in output
    assert {header["Authorization"] for header in endpoint.seen.headers} == {f"Bearer {key}"}
    reasons = [remark["reason"] for row in samples(run) for remark in row["remarks"].values()]
    assert "Bearer [key]" in reasons
    assert commands
    assert key not in "".join(commands)
    assert key not in output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"cache.sqlite", "metrics.jsonl", "provenance.json"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_a_key_that_is_not_set_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        sections = judged(endpoint, tmp_path / "cache.sqlite", key_variable="JUDGE_NO_KEY")
        output = train(write_config(tiny_model, tmp_path, **sections), code=2)
    words = " ".join(output.split())
    assert "judge.endpoints[0].key_variable: JUDGE_NO_KEY holds no API key" in words
    assert "Traceback" not in output
    assert "sharding the model" not in output
    assert not endpoint.seen.arrivals
    assert not (tmp_path / "run").exists()
