"""Episodes in the files of samples: every turn is kept, whatever a world put into it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvpo.episode import Episode, Turn
from rvpo.errors import CheckpointError
from rvpo.report.record import StepRecord, sample_rows
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import SampleFiles, samples_of
from rvpo.types import Rollout, Sample
from tests.fakes import make_episode, make_record


def record(*samples: Sample) -> StepRecord:
    made = make_record(1)
    return replace(made, rollout=Rollout(samples=samples, group_size=2))


def kept(folder: Path, *samples: Sample) -> list[dict[str, Any]]:
    run = RunFolder.create(folder, "", {})
    SampleFiles(run, rank=0)(record(*samples))
    return samples_of(run, 1)


def test_turns_roles_calls_and_ends_are_kept_and_read_back(tmp_path: Path) -> None:
    one = make_episode(
        "<think>Hm.</think>ab", "tool", "end", calls=2, failures=("add: TypeError",), rewritten="x"
    )
    broken = make_episode("a", ending="tool_failed", reason="it hangs")
    rows = kept(tmp_path / "run", one, broken, one, one)
    found = rows[0]["episode"]
    assert [turn["by"] for turn in found["turns"]] == ["policy", "world", "policy"]
    assert found["turns"][1] == {
        "by": "world",
        "messages": [{"role": "tool", "content": "tool"}],
        "start": 20,
        "stop": 24,
        "given": 4,
    }
    assert found["turns"][0]["messages"][0]["content"] == "<think>Hm.</think>ab"
    assert (found["calls"], found["failures"]) == (2, ["add: TypeError"])
    assert found["ending"] == "answered"
    assert rows[0]["completion"] == "end"
    assert rows[0]["completion_tokens"] == 20 + 3
    assert (rows[1]["episode"]["ending"], rows[1]["episode"]["reason"]) == (
        "tool_failed",
        "it hangs",
    )


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), {1, 2}, object(), {("a",): 1}, deep(100_000), b"\xff", 10**6000, "\ud800"],
    ids=["nan", "set", "object", "keys", "deep", "bytes", "long", "surrogate"],
)
def test_whatever_a_world_says_can_be_written_and_read(tmp_path: Path, value: Any) -> None:
    said = {"role": "assistant", "content": "a", "tool_calls": [{"arguments": value}]}
    answer = {"role": "tool", "content": value if isinstance(value, str) else "b", "extra": value}
    turns = (Turn((said,), 0, 1), Turn((answer,), 1, 2), Turn((said,), 2, 3))
    sample = make_episode("a", "b", "c")
    prompt = replace(sample.prompt, messages=(*sample.prompt.messages, answer))
    odd = replace(sample, prompt=prompt, episode=Episode(turns=turns, ending="answered"))
    rows = kept(tmp_path / "run", odd, odd, odd, odd)
    assert rows[0]["episode"]["turns"][0]["messages"][0]["content"] == "a"


def test_a_sample_of_one_answer_is_written_without_an_episode() -> None:
    assert all("episode" not in row for row in sample_rows(make_record(1)))


@pytest.mark.parametrize("wrong", [{}, {"turns": []}, {"turns": [{"by": "nobody"}]}, [], "x"])
def test_an_episode_of_another_form_is_told_as_damage(tmp_path: Path, wrong: Any) -> None:
    one = make_episode("a")
    rows = kept(tmp_path / "run", one, one, one, one)
    run = RunFolder(tmp_path / "run")
    (path,) = run.samples.iterdir()
    whole = rows[0]["episode"]
    odd = {**whole, **wrong} if isinstance(wrong, dict) and wrong else wrong
    path.write_text(json.dumps({**rows[0], "episode": odd}) + "\n")
    with pytest.raises(CheckpointError, match="damaged"):
        samples_of(run, 1)
