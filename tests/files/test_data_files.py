"""What a file says reaches the rewards as it is: nothing guessed, and what is wrong is named."""

import csv
import datetime
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource
from rvpo.data.sources import load_prompts
from rvpo.errors import DataError
from rvpo.files.stored import stored_rows

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False)
dates = st.sampled_from(["2024-05-01", "2024-05-01T10:00:00Z", "10:30", "NA", "None", "007", "1e5"])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | dates,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(texts, values, max_size=5), max_size=6)


def read(path: Path, content: str | bytes | None = None, **types: Any) -> list[Any]:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return stored_rows(str(path), "train", "data.train.path", types)


def refusal(path: Path, content: str | bytes, **types: Any) -> str:
    with pytest.raises(DataError) as error:
        read(path, content, **types)
    sentence = str(error.value)
    assert sentence.startswith("data.train.path: ")
    assert "\n" not in sentence
    return sentence.replace(str(path), path.name)


def same(found: Any, expected: Any) -> bool:
    """Equal, types included: 1, 1.0 and True are three things."""
    return repr(found) == repr(expected)


@settings(deadline=None)
@given(rows, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), st.booleans())
def test_rows_are_what_json_loads_gives(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, ascii: bool, end: str, bom: bool
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines = [json.dumps(row, ensure_ascii=ascii) for row in rows]
    start = "\ufeff" if bom else ""
    expected = [json.loads(line) for line in lines]
    for name in ("rows.jsonl", "rows.json"):
        assert same(read(folder / name, start + end.join(lines)), expected)
    assert same(read(folder / "rows.JSON", start + json.dumps(rows, indent=1)), expected)


@settings(deadline=None)
@given(st.lists(st.lists(texts, min_size=2, max_size=2), max_size=6))
def test_cells_are_the_text_that_stands_there(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("cells") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["prompt", "answer"], *cells])
    assert read(path) == [{"prompt": a, "answer": b} for a, b in cells]


@pytest.mark.parametrize("cell", ["007", "NA", "None", "null", "1e5", "2024-05-01", "", " x ", "1"])
def test_nothing_is_guessed_of_a_cell(tmp_path: Path, cell: str) -> None:
    assert read(tmp_path / "a.csv", f'prompt,answer\nhi,"{cell}"\n') == [
        {"prompt": "hi", "answer": cell}
    ]


def test_cells_have_the_types_that_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('prompt,n,x,parts\na,007,1e5,"[1, ""b""]"\nb,,,\n')
    kinds = {"n": "int", "x": "float", "parts": "json"}
    first, second = load_prompts(
        DatasetSource.model_validate({"path": str(file), "types": kinds}), None, "data.train"
    )
    assert same(first.columns, {"n": 7, "x": 100000.0, "parts": [1, "b"]})
    assert second.columns == {"n": None, "x": None, "parts": None}


def test_later_rows_may_differ_at_any_size(tmp_path: Path) -> None:
    padding = "x" * 1000
    lines = [{"prompt": padding, "a": 1}] * 11_000
    lines += [{"prompt": "b", "a": "text", "new": {"k": [1]}}, {"a": [None], "prompt": "c"}]
    file = tmp_path / "large.jsonl"
    found = read(file, "\n".join(map(json.dumps, lines)))
    assert file.stat().st_size > 10 * 2**20
    assert found == lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"null", "is null"),
        (b"[1]", "is a list"),
        (b'"a"', "is a text"),
        (b"true", "is a truth value"),
        (b"7", "is a number"),
        (b"{'a': 1}", "is not JSON (Expecting property name"),
        (b'{"a": 1} {"a": 2}', "is not JSON (Extra data"),
        (b'{"a": "\xff"}', "is not text in UTF-8"),
        (b'{"a": "\\ud83d"}', "as \\ud83d is half a character"),
        (b'{"a": ' + b"[" * 100_000, "is not JSON (maximum recursion depth exceeded"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "is not JSON (Exceeds the limit (4300 digits)"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    for name in ("rows.jsonl", "rows.json"):
        told = refusal(tmp_path / name, b'{"prompt": "a"}\n\n' + line + b"\n{}\n")
        assert f"'{name}', line 3: is " in told
        assert words in told
        if not line.startswith(b"["):
            assert words in refusal(tmp_path / name, line)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[null]", "item 1 of the list is null"),
        ('[{"a": 1}, 3]', "item 2 of the list is a number"),
        ('[{"a": 1},\n{"a" 2}]', "is not a list of rows in JSON (not JSON (Expecting ':'"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_a_list_that_holds_no_rows_is_named(tmp_path: Path, content: str, words: str) -> None:
    assert words in refusal(tmp_path / "rows.json", content)


def test_what_json_permits_is_read(tmp_path: Path) -> None:
    line = '{"a": 1, "a": 2, "b": NaN, "c": -Infinity, "d": "\\ud83d\\ude00\\u2028", "e": "\u2028"}'
    assert same(read(tmp_path / "a.jsonl", line), [json.loads(line)])
    assert read(tmp_path / "one.json", '{\n "a": [\n1]\n}') == [{"a": [1]}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n1\n", "line 3: has 1 cells, and the header has 2"),
        ("a,b\n1,2,3\n", "line 2: has 3 cells"),
        ("a,a\n1,2\n", "names the column 'a' twice"),
        ('a,b\n1,"2\n', "line 2: is not CSV (unexpected end of data)"),
        (b"a,b\n\xff,1\n", "is not text in UTF-8"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refusal(tmp_path / "a.csv", content)


def test_a_cell_of_another_type_is_named(tmp_path: Path) -> None:
    told = refusal(tmp_path / "a.csv", "p,n\na,1\nb,x7\n", n="int")
    assert "line 3, 'n': 'x7' is no int" in told
    assert "did you mean 'n'?" in refusal(tmp_path / "a.csv", "p,n\na,1\n", nn="int")
    assert "`types` are for .csv files" in refusal(tmp_path / "a.jsonl", "{}", n="int")


def test_a_document_in_a_cell_may_be_long(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "p\n" + "x" * 200_000) == [{"p": "x" * 200_000}]


def test_values_of_parquet_have_the_types_that_it_states(tmp_path: Path) -> None:
    row = {
        "text": "2024-05-01",
        "day": datetime.date(2024, 5, 1),
        "time": datetime.datetime(2024, 5, 1, 10, 30),
        "large": 2**63 - 1,
        "price": Decimal("1.50"),
        "nested": {"a": [1, None], "b": {"c": "x"}},
    }
    pq.write_table(pa.Table.from_pylist([row, dict.fromkeys(row)]), tmp_path / "a.parquet")
    assert same(read(tmp_path / "a.parquet"), [row, dict.fromkeys(row)])


def test_a_file_is_read_again_whatever_its_time(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for text in ("one", "two"):
        file.write_text(json.dumps({"prompt": text}))
        os.utime(file, (1, 1))
        assert read(file) == [{"prompt": text}]


def test_a_name_is_never_a_pattern(tmp_path: Path) -> None:
    assert read(tmp_path / "a*[b]?.jsonl", '{"a": 1}') == [{"a": 1}]
