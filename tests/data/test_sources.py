"""Prompts of one or several sources, through a user's functions, and told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.data import DataConfig, DatasetSource
from rvpo.config.sentences import validated
from rvpo.data.mixture import Mixture
from rvpo.data.packed import Joined, Prompts
from rvpo.data.sources import load_prompts
from rvpo.data.splits import Splits, read_splits
from rvpo.errors import ConfigError, DataError, RvpoError
from rvpo.trial.given import _Data
from tests.configs import tiny_config


def short(row: dict[str, Any]) -> bool:
    row.clear()  # a function may do what it likes with what it is given
    return True


def of_level(row: dict[str, Any]) -> bool:
    return row["level"] > 1


def renamed(row: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {"prompt": row["question"], "answer": np.int64(row["level"])}


def nothing(row: dict[str, Any]) -> None:
    return None


ROWS = [{"question": f"{n}?", "prompt": f"{n}?", "level": n} for n in range(5)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def load(path: Path, **more: str) -> Prompts:
    functions = {name: f"tests.data.test_sources:{value}" for name, value in more.items()}
    found = load_prompts(DatasetSource(path=str(path), **functions), None, "data.train")
    assert isinstance(found, Prompts)
    return found


def test_a_filter_keeps_rows_and_their_numbers(rows: Path) -> None:
    assert [prompt.id for prompt in load(rows, filter="of_level")] == ["2", "3", "4"]
    assert [prompt.columns["level"] for prompt in load(rows, filter="short")] == [0, 1, 2, 3, 4]


def test_a_map_makes_rows_after_the_filter(rows: Path) -> None:
    found = load(rows, filter="of_level", map="renamed")
    assert [dict(prompt.columns) for prompt in found] == [{"answer": n} for n in (2, 3, 4)]
    assert type(found[0].columns["answer"]) is int


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        (
            {"map": "nothing"},
            "data.train.map: row 0 became a value of type NoneType; return a dict",
        ),
        (
            {"filter": "renamed", "map": "of_level"},
            "data.train.map: row 0 became a value of type b",
        ),
        ({"map": "missing"}, "data.train.map: tests.data.test_sources has no 'missing'"),
        ({"filter": "load"}, "data.train.filter: failed at row 0: "),
    ],
)
def test_a_function_that_does_not_what_it_should_is_one_sentence(
    rows: Path, functions: dict[str, str], words: str
) -> None:
    with pytest.raises(RvpoError) as error:
        load(rows, **functions)
    assert str(error.value).startswith(words)


def test_a_filter_that_keeps_nothing_is_said(rows: Path) -> None:
    rows.write_text('{"prompt": "a", "level": 0}')
    with pytest.raises(DataError, match="there are no rows that are kept"):
        load(rows, filter="of_level")


def read(tmp_path: Path, train: Any, said: list[str] | None = None, **data: Any) -> Splits:
    config = tiny_config(tmp_path / "model", data={"train": train, **data})
    return read_splits(config, (said if said is not None else []).append)


def test_ids_of_several_sources_begin_with_the_number_of_the_source(
    tmp_path: Path, rows: Path
) -> None:
    letters = {"function": "tests.toy:letters", "arguments": {"count": 2}}
    found = read(tmp_path, [letters, {"path": str(rows)}])
    assert isinstance(found.train, Joined)
    assert not isinstance(found.train, Mixture)
    names = ["0/letters/0", "0/letters/1", *(f"1/{n}" for n in range(5))]
    assert [prompt.id for prompt in found.train] == names
    assert list(found.by_place) == ["data.train[0]", f"data.train[1] ('{rows}')"]
    assert {name: len(each) for name, each in found.by_setting.items()} == {
        "data.train[0]": 2,
        "data.train[1]": 5,
        "data.held_out": 0,
    }


def test_completions_find_their_prompts_in_several_sources(rows: Path) -> None:
    sources = [{"path": str(rows)}, {"path": str(rows)}]
    data = DataConfig.model_validate({"train": sources, "held_out": {"path": str(rows)}})
    assert {"0/3", "1/3", "3"} <= set(_Data(data).by_id)


def test_shares_make_a_mixture(tmp_path: Path, rows: Path) -> None:
    found = read(tmp_path, [{"path": str(rows), "share": 0.25}, {"path": str(rows), "share": 0.75}])
    assert isinstance(found.train, Mixture)
    assert found.train.shares.drawn(100) == (25, 75)


def test_held_out_prompts_of_several_sources_are_scored_in_their_order(
    tmp_path: Path, rows: Path
) -> None:
    config = tiny_config(
        tmp_path / "model",
        data={"held_out": [{"path": str(rows)}, {"path": str(rows)}]},
        evaluate={"prompts": 7},
    )
    found = read_splits(config)
    assert [prompt.id for prompt in found.held_out][4:] == ["0/4", "1/0", "1/1"]
    assert [len(part.prompts) for part in found.held_out_parts] == [5, 2]


def test_one_source_in_a_list_is_one_of_several(tmp_path: Path, rows: Path) -> None:
    found = read(tmp_path, [{"path": str(rows)}])
    assert [prompt.id for prompt in found.train] == [f"0/{n}" for n in range(5)]


def test_ids_that_name_no_prompt_are_numbers_and_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}, {"prompt": "c", "id": None}]
    path.write_text("\n".join(map(json.dumps, lines)))
    said: list[str] = []
    found = read(tmp_path, {"path": str(path)}, said)
    assert [prompt.id for prompt in found.train] == ["x", "x#1", "2"]
    assert [prompt.columns["id"] for prompt in found.train] == ["x", "x", None]
    assert any("data.train: some rows have an id made from their number" in line for line in said)


A = {"path": "a.jsonl"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"train": []}, "train: an empty list; give at least one source"),
        ({"train": A | {"share": 1}}, "train.share: there is one source"),
        ({"train": [A | {"share": 0.5}, A]}, "data.train[1] has no share; give each source one"),
        ({"train": [A | {"share": 0.5}] * 3}, "the shares add up to 1.5; make them add up to 1"),
        ({"train": [A | {"share": 0}]}, "train[0].share: must be greater than 0"),
        ({"train": A, "held_out": A | {"share": 1}}, "held_out: every held-out prompt is scored"),
        ({"train": A | {"streaming": True}}, "write too_long: drop, or truncate_left"),
        (
            {"train": [A | {"streaming": True}, A], "too_long": "drop"},
            "train: how many rows a stream has is not known; give each source a share",
        ),
        (
            {"train": A, "held_out": A | {"streaming": True}, "too_long": "drop"},
            "held_out.streaming: held-out prompts are the same ones each time",
        ),
        (
            {"train": A | {"revison": "x"}},
            "train.revison: no such setting; did you mean 'revision'",
        ),
        ({"train": [A, {"pth": "b"}]}, "train[1].path: required and not given"),
        ({"train": A, "too_long": "cut"}, "too_long: 'cut' is not available"),
        ({"train": A | {"filter": "short"}}, "train.filter: must be module:function"),
    ],
)
def test_sources_that_do_not_go_together_are_one_sentence(data: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        validated(DataConfig, data, "it is none")
    assert words in str(error.value)


def test_shares_are_rounded(tmp_path: Path) -> None:
    thirds = DataConfig.model_validate({"train": [A | {"share": 0.333}] * 3})
    assert thirds.shares == (0.333,) * 3
