"""Which prompts ranks see, where what was found out about them decides: the same after a kill."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from rvpo.runtime.port import LOOPBACK, free_port
from tests.commands.forked import ForkedRun, forker
from tests.commands.test_train import RANK_VARIABLES, count_steps, metrics, samples, write_config

pytestmark = pytest.mark.slow

STEPS, KILLED_AFTER, RANKS = 6, 3, 2


def ranks(config: Path, *arguments: str) -> list[ForkedRun]:
    """The ranks of a run under way, as torchrun starts them."""
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    kept |= {"MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(free_port())}
    kept |= {"WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    words = ["train", "--config", str(config), *arguments]
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(RANKS)]
    return [forker().start(words, Path.cwd(), kept | place) for place in places]


def train(config: Path, *arguments: str) -> None:
    for rank in ranks(config, *arguments):
        output, _ = rank.communicate(timeout=600)
        assert rank.returncode == 0, output


def chosen(tiny_model: Path, folder: Path) -> Path:
    """Two ranks, whose prompts come from sources by shares and by difficulty, in the place of
    others and more than are trained on."""
    parts = [("letters", 8, 0.7), ("words", 6, 0.3)]
    train = [
        {"function": f"tests.toy:{name}", "arguments": {"count": count}, "share": share}
        for name, count, share in parts
    ]
    return write_config(
        tiny_model,
        folder,
        steps=STEPS,
        data={
            "train": train,
            "held_out": {"function": "tests.toy:letters", "arguments": {"count": 3}},
            "order": {"name": "difficulty", "least": 0.3},
        },
        rollout={
            **{"prompts_per_step": 4, "samples_per_prompt": 4, "top_p": 0.9},
            **{"resample": 2, "oversample": 1.5},
        },
        rewards={
            "vowels": {"function": "tests.toy:begins_with_vowel"},
            "late": {"function": "tests.toy:late", "weight": 0},
        },
        evaluate={"every": 2, "at_k": [1, 2], "top_p": 0.8},
        checkpoint={"every": 1},
        update={"lr": 1e-2},
    )


def test_ranks_that_were_killed_choose_the_prompts_of_ranks_that_were_not(
    tiny_model: Path, tmp_path: Path
) -> None:
    train(chosen(tiny_model, tmp_path / "whole"))
    config, run = chosen(tiny_model, tmp_path / "killed"), tmp_path / "killed" / "run"
    begun = ranks(config)
    while count_steps(run) < KILLED_AFTER and begun[0].poll() is None:
        time.sleep(0.01)
    for rank in begun:
        rank.kill()
    for rank in begun:
        rank.communicate()
    assert begun[0].returncode == -signal.SIGKILL, begun[0].text()
    train(config, "--resume")

    whole = metrics(tmp_path / "whole" / "run")
    assert [row["step"] for row in whole] == list(range(1, STEPS + 1))
    assert metrics(run) == whole
    assert samples(run) == samples(tmp_path / "whole" / "run")
    assert sum(row["groups/resampled"] for row in whole) > 0
    assert sum(row["order/passed_over"] for row in whole) > 0
