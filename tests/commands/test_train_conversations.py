"""Whole runs in which a world answers the policy."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_train import count_steps, metrics, samples, start, train, write_config

pytestmark = pytest.mark.slow

STOPS = list("abcdefghijklmnopqrstuvwxyz")
"""Untrained, the tiny model hardly ever ends a turn by itself."""


def conversation(tiny_model: Path, folder: Path, **world: Any) -> Path:
    environment = {"name": "custom", "factory": "tests.worlds:Nagging", **world}
    return write_config(
        tiny_model,
        folder,
        steps=4,
        environment=environment,
        data={"held_out": {"function": "tests.toy:letters", "arguments": {"count": 4}}},
        rollout={"max_completion_tokens": 120, "stop": STOPS},
        rewards={"patience": {"function": "tests.worlds:patience"}},
        checkpoint={"every": 1},
    )


def test_a_run_of_conversations_goes_on_after_a_kill_as_if_nothing_had_been(
    tiny_model: Path, tmp_path: Path
) -> None:
    whole = conversation(tiny_model, tmp_path / "whole")
    train(whole)
    killed = conversation(tiny_model, tmp_path / "killed")
    run = start(killed)
    end = time.monotonic() + 200
    while count_steps(tmp_path / "killed" / "run") < 2 and time.monotonic() < end:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    train(killed, "--resume")
    expected = metrics(tmp_path / "whole" / "run")
    assert metrics(tmp_path / "killed" / "run") == expected
    assert samples(tmp_path / "killed" / "run") == samples(tmp_path / "whole" / "run")
    assert max(row["episodes/turns_max"] for row in expected) == 3
    assert all(row["rewards/patience/mean"] >= 0 for row in expected)


def test_an_episode_whose_world_failed_has_no_score_and_trains_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    output = train(conversation(tiny_model, tmp_path, arguments={"broken": 2}, budget=1))
    assert "has no score (world_broken: OSError: no more)" in " ".join(output.split())
    found = samples(tmp_path / "run")
    broken = [each for each in found if each["scores"]["patience"] is None]
    assert broken
    assert all("world_broken" in json.dumps(each) for each in broken)
    assert all(each["advantage"] in (0, None) for each in broken)
    assert len(broken) < len(found)


def test_two_ranks_count_and_tell_the_broken_episodes_of_both(
    tiny_model: Path, tmp_path: Path
) -> None:
    world = {"factory": "tests.worlds:Looping", "arguments": {"broken": 3}, "budget": 1}
    config = conversation(tiny_model, tmp_path, **world)
    output = " ".join(train(config, "distributed.processes=2", "evaluate.every=0").split())
    found = samples(tmp_path / "run")
    for row in metrics(tmp_path / "run"):
        of_step = [each for each in found if each["step"] == row["step"]]
        broken = sum(each["scores"]["patience"] is None for each in of_step)
        assert len(of_step) == 8
        assert row["rewards/patience/missing_frac"] == broken / 8
        assert row["episodes/ended/world_broken"] == broken / 8
        assert row["trained_samples"] <= 8 - broken
        told = f"{broken} of 8 episodes without a score: world_broken: OSError"
        assert (told in output) == (broken > 0)
    assert "8 of 16 held-out episodes have no score" in output  # those of numbers 0 and 3


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ({"factory": "tests.worlds:Toolless"}, "which has no tools"),
        (
            {"factory": "tests.worlds:Sessionless"},
            "is a value of type NoneType, which has no begin",
        ),
        (
            {"factory": "tests.worlds:Unopened"},
            "environment: no world can be opened for prompt 'letters/0': KeyError: 'times'",
        ),
        ({"factory": "tests.worlds:Nothing"}, "has no 'Nothing'"),
        (
            {"arguments": {"time": 1}},
            "environment.arguments.time: tests.worlds:Nagging has no such",
        ),
        ({"max_turns": 0}, "environment.max_turns"),
        ({"name": "costum"}, "environment"),
    ],
)
def test_a_world_that_cannot_be_had_is_refused_in_a_sentence_before_a_model_is_loaded(
    tiny_model: Path, tmp_path: Path, world: dict[str, Any], said: str
) -> None:
    output = train(conversation(tiny_model, tmp_path, **world), code=2)
    assert said in " ".join(output.split())
    assert "Traceback" not in output
    assert "sharding" not in output
    assert not (tmp_path / "run").exists()
