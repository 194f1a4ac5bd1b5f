"""Rows become prompts, and every epoch visits each prompt once."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource, FunctionSource
from rvpo.data.order import PromptStream
from rvpo.data.sources import load_prompts
from rvpo.errors import ConfigError, DataError
from rvpo.runtime.imports import import_function
from rvpo.types import Prompt
from tests.fakes import make_prompt


def two_rows() -> list[dict[str, Any]]:
    import numpy as np

    return [
        {"prompt": "1 + 1?", "answer": np.int64(2), "parts": np.array([1, 1])},
        {"prompt": "1 + 2?", "answer": np.int64(3), "parts": np.array([1, 2])},
    ]


def rows(value: Any) -> Any:
    return value


def failing() -> list[dict[str, Any]]:
    raise KeyError("x")


def from_function(name: str, **arguments: Any) -> tuple[Prompt, ...]:
    source = FunctionSource(function=f"tests.data.test_data:{name}", arguments=arguments)
    return load_prompts(source, None, "data.train")


def from_file(path: Path, text: str | None = None, system_prompt: str | None = None, **source: Any):
    if text is not None:
        path.write_text(text)
    return load_prompts(DatasetSource(path=str(path), **source), system_prompt, "data.train")


def from_lines(tmp_path: Path, *lines: dict[str, Any], **source: Any) -> tuple[Prompt, ...]:
    return from_file(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, lines)), **source)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_prompts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    data = Dataset.from_list([{"prompt": "1 + 1?", "answer": 2}, {"prompt": "1 + 2?", "answer": 3}])
    write = {"csv": data.to_csv, "parquet": data.to_parquet}.get(suffix, data.to_json)
    write(str(path))
    types = {"types": {"answer": "int"}} if suffix == "csv" else {}
    assert from_file(path, **types) == (
        Prompt(id="0", messages=({"role": "user", "content": "1 + 1?"},), columns={"answer": 2}),
        Prompt(id="1", messages=({"role": "user", "content": "1 + 2?"},), columns={"answer": 3}),
    )


def test_chat_messages_of_a_parquet_file_load(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    chat = [{"content": "Be brief.", "role": "system"}, {"content": "Hi", "role": "user"}]
    row = {"prompt": chat, "extra": {"index": 7, "tags": ["a"]}}
    Dataset.from_list([row]).to_parquet(str(path))
    (prompt,) = from_file(path)
    assert prompt.messages == tuple(chat)
    assert prompt.columns == {"extra": {"index": 7, "tags": ["a"]}}


def test_system_prompt_goes_only_where_there_is_none(tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Hi"}]
    bare = [{"role": "user", "content": "Hi"}]
    first, second = from_lines(tmp_path, {"prompt": own}, {"prompt": bare}, system_prompt="Yours.")
    assert first.messages == tuple(own)
    assert second.messages == ({"role": "system", "content": "Yours."}, *bare)


def test_id_column_names_the_prompts(tmp_path: Path) -> None:
    lines = [{"prompt": "a", "id": "sum/4"}, {"prompt": "b", "id": "sum/9"}]
    assert [p.id for p in from_lines(tmp_path, *lines)] == ["sum/4", "sum/9"]


def test_another_prompt_column_can_be_named(tmp_path: Path) -> None:
    (prompt,) = from_lines(tmp_path, {"question": "a", "prompt": 5}, prompt_column="question")
    assert prompt.messages[0]["content"] == "a"
    assert prompt.columns == {"prompt": 5}


def test_rows_of_a_function_become_plain_python() -> None:
    prompts = from_function("two_rows")
    assert prompts[1].columns == {"answer": 3, "parts": [1, 2]}
    assert type(prompts[1].columns["answer"]) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "there are no rows"),
        ("abc", "returned a value of type str; return a list of rows"),
        (7, "returned a value of type int"),
        ([{"prompt": "a"}, "b"], "row 1 is a str; rows must be dicts"),
        ([{"promt": "a"}], "it has promt; did you mean 'promt'?"),
        ([{"prompt": "a"}, {"prompt": None}], "row 1, 'prompt': is null"),
        ([{"prompt": 3}], "row 0, 'prompt': is 3 of type int; give text or a list of chat"),
        ([{"prompt": []}], "is [] of type list"),
        ([{"prompt": [{"role": "user"}]}], "a chat message is a dict with a text 'role'"),
        ([{"prompt": "a", "completions": 1}], "column 'completions' has a name that"),
    ],
)
def test_what_is_no_prompt_is_refused_with_its_row(value: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        from_function("rows", value=value)
    assert message in str(error.value)
    assert str(error.value).startswith("data.train")


def test_failing_function_is_named_with_its_error() -> None:
    with pytest.raises(DataError, match=r"tests.data.test_data:failing failed: KeyError: 'x'"):
        from_function("failing")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.jsonl", None, "there is no file"),
        ("none/at/all", None, "there is no file"),
        ("rows.txt", "a", "of an unknown kind; give a file in .jsonl, .json, .parquet, .csv"),
        ("empty.jsonl", "", "there are no rows"),
        ("empty.json", "[]", "there are no rows"),
        ("header.csv", "prompt,answer\n", "there are no rows"),
        ("broken.jsonl", "{not json\n", "'{}', line 1: is not JSON (Expecting property name"),
        ("broken.parquet", "xx", "cannot be read (Parquet file size is 2 bytes"),
        ("a" * 300 + ".jsonl", None, "File name too long"),
    ],
)
def test_unreadable_file_is_one_sentence(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    with pytest.raises(DataError) as error:
        from_file(tmp_path / name, text)
    assert message.format(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_folder_without_files_of_rows_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text("")
    with pytest.raises(DataError, match=r"the folder .* cannot be loaded"):
        from_file(tmp_path)


def test_unreachable_hub_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = DatasetSource(path="nobody/nothing")
    with pytest.raises(DataError, match="Hub dataset 'nobody/nothing', split 'train', cannot be"):
        load_prompts(source, None, "data.train")


def numbered(count: int) -> tuple[Prompt, ...]:
    return tuple(make_prompt(str(index)) for index in range(count))


streams = st.builds(
    PromptStream,
    st.integers(1, 12).map(numbered),
    st.integers(1, 30),
    st.integers(0, 2**32),
)


@given(streams, st.integers(1, 8))
def test_every_epoch_visits_each_prompt_once(stream: PromptStream, steps: int) -> None:
    visited = [prompt.id for step in range(steps) for prompt in stream.at(step)]
    size = len(stream.prompts)
    assert len(visited) == steps * stream.per_step
    for start in range(0, len(visited) - size + 1, size):
        assert len(set(visited[start : start + size])) == size
    counts = Counter(visited).values()
    assert max(counts) - (min(counts) if len(counts) == size else 0) <= 1


@given(streams, st.integers(0, 1000))
def test_step_alone_decides_its_prompts(stream: PromptStream, step: int) -> None:
    again = PromptStream(stream.prompts, stream.per_step, stream.seed)
    assert again.at(step) == stream.at(step)


def test_order_is_the_same_on_every_machine() -> None:
    stream = PromptStream(numbered(8), 8, seed=3)
    assert "".join(p.id for p in stream.at(0)) == "37251046"
    assert "".join(p.id for p in stream.at(1)) == "42735016"


def test_epochs_and_seeds_differ_in_order() -> None:
    prompts = numbered(20)
    stream = PromptStream(prompts, 20, seed=0)
    assert stream.at(0) != stream.at(1)
    assert stream.at(0) != PromptStream(prompts, 20, seed=1).at(0)


@pytest.mark.parametrize(("count", "per_step"), [(0, 1), (1, 0)])
def test_stream_of_nothing_is_refused(count: int, per_step: int) -> None:
    with pytest.raises(ValueError, match="a stream needs prompts"):
        PromptStream(numbered(count), per_step, 0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("rvpo.rewards.arithmetic:corect", "has no 'corect'; did you mean 'correct'?"),
        ("rvpo.reward:f", "no module 'rvpo.reward'; did you mean 'rvpo.rewards'?"),
        ("rvpo.rewards.arithmetics:f", "did you mean 'rvpo.rewards.arithmetic'?"),
        ("nowhere_to_be_found:f", "no module 'nowhere_to_be_found' in "),
        ("rvpo.rewards", "write module:function"),
        ("rvpo.rewards.arithmetic:_NUMBER", "is a value of type Pattern; name a function"),
    ],
)
def test_path_that_names_no_function_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        import_function(path, "rewards.correct.function")
    assert str(error.value).startswith("rewards.correct.function: ")
    assert message in str(error.value)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_module_in_the_working_directory_is_found(in_folder: Path) -> None:
    (in_folder / "my_own_rewards.py").write_text("def mine():\n    return 7\n")
    assert import_function("my_own_rewards:mine", "rewards.mine.function")() == 7


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("my_missing", "import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        ("my_syntax", "def f(:", r"SyntaxError: .*\(my_syntax.py, line 1\)$"),
        ("my_error", "1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_module_that_fails_is_named_with_its_error(
    in_folder: Path, name: str, text: str, message: str
) -> None:
    (in_folder / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError, match=f"importing {name} fails: {message}"):
        import_function(f"{name}:f", "data.train.function")
