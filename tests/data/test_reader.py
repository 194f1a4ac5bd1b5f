"""What the settings say of a row's columns becomes its prompt, and what they do not say is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.data import DatasetSource, FunctionSource
from rvpo.data.sources import load_prompts
from rvpo.errors import DataError
from rvpo.types import Prompt

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
TOOL = {"name": "f", "parameters": {"type": "object", "properties": {}}}


def load(
    folder: Path,
    *rows: Mapping[str, Any],
    system_prompt: str | None = None,
    prefill: str = "",
    said: list[str] | None = None,
    **source: Any,
) -> tuple[Prompt, ...]:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    data = DatasetSource(path=str(file), **source)
    told = None if said is None else said.append
    return tuple(load_prompts(data, system_prompt, "data.train", told, prefill))


def contents(prompt: Prompt) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in prompt.messages]


def test_a_rows_own_system_message_comes_before_that_of_the_run(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "about": "Be brief."}, {"prompt": "Hi", "about": " "}]
    mine, yours = load(tmp_path, *rows, system_prompt="Yours.", system_column="about")
    assert contents(mine) == [("system", "Be brief."), ("user", "Hi")]
    assert contents(yours) == [("system", "Yours."), ("user", "Hi")]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_two_system_messages_of_a_row_are_refused(tmp_path: Path, role: str) -> None:
    row = {"prompt": [{"role": role, "content": "A"}, *CHAT[:1]], "about": "B"}
    with pytest.raises(DataError, match="row 0: has a system message in its conversation and one"):
        load(tmp_path, row, system_column="about")


def test_a_system_message_is_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 0, 'about': is 3 of type int; give a system message"):
        load(tmp_path, {"prompt": "Hi", "about": 3}, system_column="about")


@pytest.mark.parametrize("column", ["system_column", "tools_column"])
def test_a_column_that_no_row_has_is_refused(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match=rf"data\.train\.{column}: no row has anything in a column"):
        load(tmp_path, {"prompt": "Hi"}, **{column: "sytsem"})


def test_several_columns_of_text_are_one_prompt(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"instruction": "Sing.", "input": ""},
        {"instruction": "Sing.", "input": None},
    ]
    prompts = load(tmp_path, *rows, prompt_column=["instruction", "input"])
    assert [prompt.text for prompt in prompts] == ["Add.\n\n1, 2", "Sing.", "Sing."]
    assert prompts[0].columns == {"output": "3"}


def test_columns_that_are_joined_hold_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 0, 'b': is \[\] of type list; columns of a prompt"):
        load(tmp_path, {"a": "x", "b": []}, prompt_column=["a", "b"])
    with pytest.raises(DataError, match="has no column 'b', it has a"):
        load(tmp_path, {"a": "x"}, prompt_column=["a", "b"])


def test_tools_of_another_column_are_shown(tmp_path: Path) -> None:
    row = {"prompt": [CHAT[:1]], "function": [TOOL]}
    (prompt,) = load(tmp_path, row, tools_column="function")
    assert prompt.tools == ({"type": "function", "function": TOOL},)
    assert contents(prompt) == [("user", "Hi")]


def test_tools_in_two_places_are_refused(tmp_path: Path) -> None:
    row = {"prompt": {"messages": CHAT[:1], "tools": [TOOL]}, "tools": [TOOL]}
    with pytest.raises(DataError, match="has tools in its conversation and in the column 'tools'"):
        load(tmp_path, row)


def test_the_answer_of_a_conversation_is_cut_off_where_that_is_asked_for(tmp_path: Path) -> None:
    (prompt,) = load(tmp_path, {"prompt": CHAT}, answer_turn="drop")
    assert contents(prompt) == [("user", "Hi")]
    (prompt,) = load(tmp_path, {"prompt": CHAT[:1]}, answer_turn="drop")
    assert contents(prompt) == [("user", "Hi")]


@pytest.mark.parametrize(
    "chat", [CHAT, [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "."}]]
)
def test_a_conversation_that_ends_with_its_answer_is_refused_with_the_setting(
    tmp_path: Path, chat: Any
) -> None:
    with pytest.raises(DataError, match=r"or write data\.train\.answer_turn=drop to cut"):
        load(tmp_path, {"prompt": chat})


@pytest.mark.parametrize("chat", [CHAT[1:], [*CHAT, CHAT[1]]])
def test_what_is_left_of_a_conversation_waits_for_an_answer(tmp_path: Path, chat: Any) -> None:
    with pytest.raises(DataError, match="would be a second one"):
        load(tmp_path, {"prompt": chat}, answer_turn="drop")


def test_what_becomes_of_texts_is_said_once_for_a_source(tmp_path: Path) -> None:
    said: list[str] = []
    load(tmp_path, {"prompt": "Hi"}, {"prompt": "Ho"}, said=said)
    assert said == [
        "data.train: prompts are text: the model sees each as a user's turn of its chat template, "
        "and reward functions are handed its prompt and completions as texts, without thoughts "
        "unless they ask (sees: everything | answer)"
    ]
    said.clear()
    load(tmp_path, {"prompt": "Hi"}, {"prompt": CHAT[:1]}, said=said, text_prompts="raw")
    assert said[0].startswith("data.train: 1 of 2 are text: the model sees each as it stands, and")
    said.clear()
    load(tmp_path, {"prompt": CHAT[:1]}, said=said)
    assert said == []


@pytest.mark.parametrize(
    ("row", "source", "setting"),
    [
        ({"prompt": "Hi", "system": "Be brief."}, {}, "data.train.system_column=system"),
        (
            {"instruction": "Add.", "input": "1, 2"},
            {"prompt_column": "instruction"},
            "data.train.prompt_column=[instruction, input]",
        ),
        ({"prompt": "Hi", "functions": [TOOL]}, {}, "data.train.tools_column=functions"),
    ],
)
def test_a_part_of_the_prompt_that_is_not_shown_is_told_with_the_setting(
    tmp_path: Path, row: Any, source: Any, setting: str
) -> None:
    said: list[str] = []
    load(tmp_path, row, said=said, **source)
    assert setting in said[1]


def test_a_raw_text_has_no_place_for_a_system_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"leave data\.train\.text_prompts out"):
        load(tmp_path, {"prompt": "Hi"}, system_prompt="Be brief.", text_prompts="raw")


def test_a_prompt_is_the_same_in_few_bytes_and_in_many(tmp_path: Path) -> None:
    (packed,) = load(tmp_path, {"prompt": "Hi"}, text_prompts="raw", prefill="<think>")
    source = FunctionSource(
        function="tests.data.test_reader:one_row", text_prompts="raw", prompt_column="prompt"
    )
    (plain,) = load_prompts(source, None, "data.train", prefill="<think>")
    for prompt in (packed, plain):
        assert (prompt.text, prompt.is_raw, prompt.prefill) == ("Hi", True, "<think>")


def one_row() -> list[dict[str, Any]]:
    return [{"prompt": "Hi"}]


def test_every_prompt_shows_the_environments_tools_before_its_own(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [{"prompt": "a", "tools": [TOOL]}, {"prompt": "b"}])))
    given = {"type": "function", "function": {"name": "g"}}
    data = DatasetSource(path=str(file))
    first, second = load_prompts(data, None, "data.train", tools=[given])
    assert [tool["function"]["name"] for tool in first.tools] == ["g", "f"]
    assert second.tools == (given,)
    same = {"type": "function", "function": {"name": "f"}}
    with pytest.raises(DataError, match="row 0: has a tool 'f', as the environment has"):
        load_prompts(data, None, "data.train", tools=[same])
