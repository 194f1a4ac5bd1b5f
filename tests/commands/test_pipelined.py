"""A run whose rollouts are made one step ahead, by vLLM in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from rvpo.data.order import PromptStream
from rvpo.types import Prompt
from tests.commands.test_train import count_steps, metrics, samples, start, train, write_config
from tests.judge.processes import wait_until
from tests.processes import engines_of, is_alive, kill_all, ranks_of
from tests.toy import letters

pytestmark = pytest.mark.slow

STEPS, PROMPTS = 5, 12


def test_a_killed_run_one_step_ahead_trains_on_every_prompt_once(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(
        tiny_model,
        tmp_path,
        steps=STEPS,
        data={"train": {"function": "tests.toy:letters", "arguments": {"count": PROMPTS}}},
        rollout={"engine": {"name": "vllm", "max_context_tokens": 128}, "staleness": 1},
        checkpoint={"every": 1},
    )
    run = tmp_path / "run"
    process = start(config)
    while count_steps(run) < 2 and process.poll() is None:
        time.sleep(0.02)
    kill_all(process.pid)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    done = len(list((run / "checkpoints").iterdir()))
    train(config, "--resume")

    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    staleness = [row["policy/staleness_mean"] for row in rows]
    assert staleness[0] == 0
    assert staleness.count(1) >= STEPS - 3  # all but the first of each start
    assert done >= 1
    assert all(row["sampling/importance_sampling_ratio/mean"] > 0 for row in rows)
    trained = Counter(sample["prompt_id"] for sample in samples(run))
    assert trained == expected(config)


def ahead(tiny_model: Path, folder: Path, **sections: object) -> Path:
    engine = {"name": "vllm", "max_context_tokens": 128}
    settings = {"rollout": {"engine": engine, "staleness": 1}, "checkpoint": {"every": 100}}
    return write_config(tiny_model, folder, **settings, **sections)


def test_ctrl_c_in_a_terminal_finishes_the_step_and_saves_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    """The terminal sends it to the whole foreground group; an engine that heard it would die."""
    process = start(ahead(tiny_model, tmp_path, steps=200))
    while count_steps(tmp_path / "run") < 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "go on with" in output
    assert "Traceback" not in output
    done = count_steps(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / f"step-{done:06d}").is_dir()


def test_an_engine_does_not_outlive_its_killed_trainer(tiny_model: Path, tmp_path: Path) -> None:
    process = start(ahead(tiny_model, tmp_path, steps=200))
    while count_steps(tmp_path / "run") < 1 and process.poll() is None:
        time.sleep(0.02)
    engines = engines_of(process.pid)
    assert engines
    ranks_of(process.pid)[0].kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL, output
    assert "rank 0 was ended by SIGKILL" in output
    wait_until(lambda: not any(map(is_alive, engines)))


def expected(config: Path) -> Counter[str]:
    """Prompts of the steps by the stream alone, each with its samples."""
    rollout = yaml.safe_load(config.read_text())["rollout"]
    prompts = tuple(Prompt(id=row["id"], messages=()) for row in letters(count=PROMPTS))
    stream = PromptStream(prompts, rollout["prompts_per_step"], seed=0)
    ids = [prompt.id for step in range(STEPS) for prompt in stream.at(step)]
    return Counter({name: n * rollout["samples_per_prompt"] for name, n in Counter(ids).items()})
