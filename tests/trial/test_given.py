"""Completions come from lines written by hand, and from the samples of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.data import DataConfig
from rvpo.criterion import Criterion
from rvpo.errors import DataError
from rvpo.report.record import sample_rows
from rvpo.rewards.rubric import RubricReward
from rvpo.trial.given import read_responses
from rvpo.trial.response import Response
from tests.fakes import make_criteria, make_record

FIXED = RubricReward(
    name="polite", form="channels", fixed={"polite": Criterion(text="It is polite.")}
)
RAGGED = RubricReward(name="rubric", form="channels")
NO_DATA = DataConfig.model_validate({"train": {"function": "tests.trial.test_given:no_data"}})
DATA = DataConfig.model_validate(
    {
        "train": {"function": "tests.trial.test_given:rows", "arguments": {"part": "train"}},
        "held_out": {"function": "tests.trial.test_given:rows", "arguments": {"part": "held_out"}},
        "system_prompt": "Be kind.",
    }
)


def rows(part: str) -> list[dict[str, Any]]:
    """Two prompts each; the id "both" is in both parts."""
    names = {"train": ("a", "both"), "held_out": ("b", "both")}[part]
    return [
        {"id": n, "prompt": f"{part} {n}?", "rubric": make_criteria(f"{part} {n}")} for n in names
    ]


def no_data() -> list[Any]:
    raise AssertionError("the data were read")


def read(
    folder: Path, *lines: Any, reward: RubricReward = RAGGED, data: DataConfig = DATA
) -> tuple[Response, ...]:
    file = folder / "samples.jsonl"
    file.write_text(
        "\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), encoding="utf-8"
    )
    return read_responses(file, [reward], data)


def test_a_line_of_its_own_needs_no_data(tmp_path: Path) -> None:
    line = {"prompt": "Hi?", "completion": "Hi.", "rubric": ["Greets.", {"text": "Is rude."}]}
    (response,) = read(tmp_path, line, data=NO_DATA)
    assert response.prompt.messages == ({"role": "user", "content": "Hi?"},)
    assert (response.text, response.kind) == ("Hi.", "given")
    assert [c.text for c in RAGGED.criteria(response.prompt)] == ["Greets.", "Is rude."]


def test_the_line_that_the_documentation_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```json\n(.*)\n```", page)
    (response,) = read(tmp_path, line, data=NO_DATA)
    assert [c.polarity for c in RAGGED.criteria(response.prompt)] == ["positive", "negative"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (response,) = read(
        tmp_path, "\ufeff" + json.dumps({"prompt": "Hi?", "completion": "Hi.", "rubric": ["A."]})
    )
    assert response.text == "Hi."


def test_criteria_of_the_configuration_need_no_others(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi?"}]
    (response,) = read(tmp_path, {"prompt": chat, "completion": ""}, reward=FIXED, data=NO_DATA)
    assert [m["content"] for m in response.prompt.messages] == ["S", "Hi?"]


def test_the_judge_sees_the_system_prompt_that_the_policy_sees(tmp_path: Path) -> None:
    line = {"prompt": "Hi?", "completion": "Hi.", "rubric": ["Greets."]}
    (response,) = read(tmp_path, line)
    assert [m["role"] for m in response.prompt.messages] == ["system", "user"]


def test_an_id_finds_prompt_and_criteria_in_either_part(tmp_path: Path) -> None:
    found = read(
        tmp_path, {"prompt_id": "a", "completion": "1"}, {"prompt_id": "b", "completion": "2"}
    )
    assert [r.prompt.messages[-1]["content"] for r in found] == ["train a?", "held_out b?"]
    assert RAGGED.criteria(found[1].prompt)[0].text == "held_out b"


def test_the_prompt_tells_which_of_two_parts_an_id_is_of(tmp_path: Path) -> None:
    line = {"prompt_id": "both", "prompt": "held_out both?", "completion": ""}
    (response,) = read(tmp_path, line)
    assert RAGGED.criteria(response.prompt)[0].text == "held_out both"


def test_samples_of_a_run_are_read(tmp_path: Path) -> None:
    lines = list(sample_rows(make_record(3)))
    found = read(tmp_path, *lines, "", reward=FIXED, data=NO_DATA)
    assert [r.text for r in found] == [line["completion"] for line in lines]
    assert [r.prompt.id for r in found] == [line["prompt_id"] for line in lines]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: is not JSON"),
        ("[1]", "line 1: is a list; write"),
        ("[" * 100_000, r"line 1: is not JSON \(maximum recursion depth"),
        ("", "there are no lines; write"),
        ({"prompt": "a"}, "has no text 'completion'"),
        ({"prompt": "a", "completion": 3}, "has no text 'completion'"),
        ({"completion": "a"}, "neither 'prompt' nor 'prompt_id'"),
        ({"completion": "a", "prompt": []}, "must be text or a list of chat messages"),
        ({"completion": "a", "prompt": [{"role": "user"}]}, "must be text or a list of chat"),
        ({"completion": "a", "prompt": "b"}, "no criteria in 'rubric', which reward 'rubric'"),
        ({"completion": "a", "prompt_id": "bth"}, "no prompt 'bth'; did you mean 'both'"),
        ({"completion": "a", "prompt_id": "both"}, "different prompts 'both'; add the 'prompt'"),
        ({"completion": "", "prompt_id": "a", "prompt": "b"}, "asks something else in the data"),
    ],
)
def test_what_is_no_response_is_named(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, line)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.jsonl cannot be read \(No such file"):
        read_responses(tmp_path / "none.jsonl", [FIXED], DATA)
