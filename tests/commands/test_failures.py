"""What a run says, and leaves behind, when one of its processes is stopped, killed or too slow."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.commands.test_train import (
    count_steps,
    metrics,
    start,
    start_ranks,
    train,
    train_ranks,
    write_config,
)
from tests.judge.processes import wait_until
from tests.processes import engines_of, is_alive, ranks_of

pytestmark = pytest.mark.slow


def wait_for_steps(run: Path, count: int, process: object) -> None:
    while count_steps(run) < count and process.poll() is None:  # type: ignore[attr-defined]
        time.sleep(0.02)


def test_a_rank_that_is_slow_is_waited_for(tiny_model: Path, tmp_path: Path) -> None:
    settings = {"distributed": {"processes": 2}, "steps": 6}
    whole = write_config(tiny_model, tmp_path / "whole", **settings)
    train_ranks(whole)
    first, second = start_ranks(write_config(tiny_model, tmp_path / "slow", **settings))
    wait_for_steps(tmp_path / "slow" / "run", 1, first)
    second.send_signal(signal.SIGSTOP)
    time.sleep(3)
    second.send_signal(signal.SIGCONT)
    for rank in (first, second):
        output, _ = rank.communicate(timeout=300)
        assert rank.returncode == 0, output
    assert metrics(tmp_path / "slow" / "run") == metrics(tmp_path / "whole" / "run")


def test_a_rank_that_hangs_ends_the_run_with_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    config = write_config(
        tiny_model, tmp_path, distributed={"processes": 2, "patience_minutes": 0.2}, steps=200
    )
    first, second = start_ranks(config)
    wait_for_steps(tmp_path / "run", 2, first)
    second.send_signal(signal.SIGSTOP)
    output, _ = first.communicate(timeout=120)
    second.kill()
    assert first.returncode == 2, output
    named = r"rank 0 on \S+ waited 0\.2 minutes for rank 1 on \S+, which says nothing and was last"
    assert re.search(named, output), output
    assert "Traceback" not in output


def test_a_killed_rank_ends_the_run_and_leaves_its_checkpoint(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(
        tiny_model, tmp_path, distributed={"processes": 2}, steps=200, checkpoint={"every": 1}
    )
    process = start(config)
    wait_for_steps(tmp_path / "run", 2, process)
    ranks_of(process.pid)[1].kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL, output
    assert "rank 1 was ended by SIGKILL" in output
    assert "--resume goes on from the last checkpoint" in output
    steps = count_steps(tmp_path / "run") + 1
    train(config, "--resume", f"steps={steps}")
    assert count_steps(tmp_path / "run") == steps


@pytest.mark.parametrize("victim", ["EngineCore", "Worker"])
def test_a_killed_engine_ends_the_run_with_a_sentence(
    victim: str, tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(
        tiny_model,
        tmp_path,
        steps=200,
        rollout={"engine": {"name": "vllm", "max_context_tokens": 128}, "staleness": 1},
        checkpoint={"every": 1},
    )
    process = start(config)
    wait_for_steps(tmp_path / "run", 2, process)
    engines = engines_of(process.pid, victim)
    assert engines
    for engine in engines:
        engine.kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "vLLM failed while" in output
    assert "continue with --resume" in output
    assert "Traceback" not in output
    wait_until(lambda: not any(map(is_alive, engines)))
