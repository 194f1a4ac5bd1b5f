"""A run that is killed again and again; a file of its own, for files are tested side by side."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands.test_train import count_steps, metrics, samples, start, train, write_config

pytestmark = pytest.mark.slow


def test_kills_at_random_moments_change_nothing(tiny_model: Path, tmp_path: Path) -> None:
    steps, moments = 20, random.Random(0)
    settings = {"steps": steps, "checkpoint": {"every": 1}}
    whole = write_config(tiny_model, tmp_path / "whole", **settings)
    train(whole)
    config = write_config(tiny_model, tmp_path / "killed", **settings)
    run = tmp_path / "killed" / "run"
    for kill in range(5):
        process = start(config, *(["--resume"] if kill else []))
        at = min(steps - 1, count_steps(run) + 1)
        while count_steps(run) < at and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), output
    train(config, "--resume")
    assert metrics(run) == metrics(tmp_path / "whole" / "run")
    assert samples(run) == samples(tmp_path / "whole" / "run")
    assert not list((run / "checkpoints").glob("*.partial"))
