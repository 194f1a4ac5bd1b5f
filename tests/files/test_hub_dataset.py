"""A dataset of the Hub says what its files say, as a file of the machine does."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rvpo.errors import DataError
from rvpo.files.hub_dataset import hub_dataset
from tests.fake_hub import COMMIT, hub

ROWS: list[dict[str, Any]] = [
    {"prompt": "When?", "answer": "2024-05-01T10:00:00Z", "call": {"day": "2024-05-01"}},
    {"prompt": "How many?", "answer": 2**64 - 1, "call": {"day": "10:30"}},
    {"prompt": "And?", "answer": 2**100, "mixed": [1, "two", None, 3.0]},
]
LINES = "\n".join(map(json.dumps, ROWS)).encode()
TABLE = b"prompt,code\nhi,007\nho,NA\nha,1e5\nhe,2024-05-01\n"
CELLS = [
    {"prompt": p, "code": c}
    for p, c in zip(("hi", "ho", "ha", "he"), ("007", "NA", "1e5", "2024-05-01"), strict=True)
]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its path holds no word that names a split."""
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives are unpacked into the cache of `datasets`."""
    cache = tmp_path_factory.mktemp("cache")
    for name in ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH"):
        monkeypatch.setattr(f"datasets.config.{name}", cache)


def repository(folder: Path, files: dict[str, bytes | str]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"inside/{name}", content)
    return buffer.getvalue()


def card(text: str) -> str:
    return f"---\nconfigs:\n{text}---\n"


def read(folder: Path, files: dict[str, bytes | str], split: str = "train", **more: Any) -> Any:
    return list(hub_dataset(repository(folder, files), split, "data.train.path", **more).rows())


def refusal(folder: Path, files: dict[str, bytes | str], *more: Any, **named: Any) -> str:
    with pytest.raises(DataError) as error:
        read(folder, files, *more, **named)
    sentence = str(error.value)
    assert sentence.startswith("data.train.path: ")
    assert "\n" not in sentence
    return sentence.replace(str(folder), "it")


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("train.jsonl", bytes),
        ("data/train-00000-of-00001.json", bytes),
        ("train.ndjson", bytes),
        ("train.json", lambda lines: b"[" + lines.replace(b"\n", b",\n") + b"]"),
        ("train.jsonl.gz", gzip.compress),
        ("train.jsonl.bz2", bz2.compress),
        ("train.jsonl.xz", lzma.compress),
        ("train.zip", lambda lines: zipped(**{"rows.jsonl": lines})),
    ],
)
def test_rows_are_what_json_loads_gives(
    folder: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    found = read(folder, {name: pack(LINES)})
    assert repr(found) == repr([json.loads(line) for line in LINES.splitlines()])


def test_a_row_over_several_lines_is_read_where_it_is_packed(folder: Path) -> None:
    packed = gzip.compress(json.dumps(ROWS[1], indent=1).encode())
    assert read(folder, {"train.json.gz": packed}) == [ROWS[1]]


def test_cells_are_the_text_that_stands_there(folder: Path) -> None:
    assert read(folder, {"train.csv": TABLE}) == CELLS
    typed = read(folder, {"train.csv": b"a\n007\n"}, types={"a": "int"})
    assert typed == [{"a": 7}]
    assert "types of its own" in refusal(
        folder / "lines", {"train.jsonl": LINES}, types={"a": "int"}
    )


@pytest.mark.parametrize("key", ["sep", "delimiter"])
@pytest.mark.parametrize("sign", [";", "|"])
def test_the_card_says_what_stands_between_cells(folder: Path, key: str, sign: str) -> None:
    text = card(f"- config_name: default\n  data_files: t.csv\n  {key}: '{sign}'\n")
    files = {"README.md": text, "t.csv": TABLE.replace(b",", sign.encode())}
    assert read(folder, files) == CELLS


def test_tabs_stand_between_cells_of_tsv(folder: Path) -> None:
    assert read(folder, {"train.tsv": TABLE.replace(b",", b"\t")}) == CELLS


def test_a_card_that_asks_for_another_reading_is_refused_by_name(folder: Path) -> None:
    text = card("- config_name: default\n  data_files: t.csv\n  skiprows: 2\n")
    sentence = refusal(folder, {"README.md": text, "t.csv": TABLE})
    assert "asks to be read with skiprows=2, which is not known here; fetch its files" in sentence


def test_what_parquet_says_is_json_is_read_as_json(folder: Path) -> None:
    texts = ['{"day": "2024-05-01"}', None, "18446744073709551615"]
    column = pa.array(texts, pa.string()).cast(pa.json_())
    inside = pa.StructArray.from_arrays([column, pa.array(["1", "2", "3"])], ["call", "text"])
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3], pa.int32()), column)
    table = pa.table({"call": column, "inside": inside, "lists": lists})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    first, second, third = [{"day": "2024-05-01"}, None, 2**64 - 1]
    assert read(folder, {"train.parquet": buffer.getvalue()}) == [
        {"call": first, "inside": {"call": first, "text": "1"}, "lists": [first, second]},
        {"call": second, "inside": {"call": second, "text": "2"}, "lists": []},
        {"call": third, "inside": {"call": third, "text": "3"}, "lists": [third]},
    ]


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("train", [0, 1, 2, 3]),
        ("test", [7]),
        ("train[1:3]", [1, 2]),
        ("train[-25%:]", [3]),
        ("test+train[:2]", [7, 0, 1]),
        ("all", [0, 1, 2, 3, 7]),
    ],
)
def test_a_split_may_be_a_part_or_a_sum(folder: Path, split: str, numbers: list[int]) -> None:
    lines = [f'{{"n": {n}}}\n' for n in (0, 1, 2, 3, 7)]
    files = {"train.jsonl": "".join(lines[:4]), "test.jsonl": lines[4]}
    assert [row["n"] for row in read(folder, files, split)] == numbers


SUBSETS = card(
    "- config_name: easy\n  data_files: easy.jsonl\n- config_name: hard\n  data_files: hard.jsonl\n"
)


def test_a_subset_is_chosen_by_its_name(folder: Path) -> None:
    files: dict[str, bytes | str] = {
        "README.md": SUBSETS,
        "easy.jsonl": '{"n": 1}',
        "hard.jsonl": '{"n": 2}',
    }
    assert read(folder, files, subset="hard") == [{"n": 2}]
    assert "available configs: ['easy', 'hard']" in refusal(folder, files)
    assert "'heard' not found. Available: ['easy', 'hard']" in refusal(
        folder, files, subset="heard"
    )


@pytest.mark.parametrize(
    ("files", "split", "words"),
    [
        ({"train.jsonl": LINES}, "trian", "has no split 'trian'; did you mean 'train'?"),
        ({"train.jsonl": LINES}, "x", "has no split 'x'; it has train"),
        ({"train.jsonl": LINES}, "train[a:]", "Unrecognized instruction format"),
        ({"train.jsonl": b"{}\nnull\n"}, "train", "it/train.jsonl', line 2: is null"),
        ({"train.csv": b"a,b\n1\n"}, "train", "it/train.csv', line 2: has 1 cells"),
        ({"train.jsonl.gz": b"no gzip"}, "train", "train.jsonl.gz"),
        ({"README.md": "no rows"}, "train", "doesn't contain any data files"),
        ({"README.md": "---\nconfigs: [\n---\n", "a.jsonl": LINES}, "train", "cannot be loaded"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    folder: Path, files: dict[str, bytes | str], split: str, words: str
) -> None:
    assert words in refusal(folder, files, split)


def test_a_dataset_that_is_a_program_is_not_run(folder: Path) -> None:
    files: dict[str, bytes | str] = {f"{folder.name}.py": "raise SystemExit", "a.jsonl": LINES}
    assert "Dataset scripts are no longer supported" in refusal(folder, files)


def test_other_kinds_are_read_by_their_library(folder: Path) -> None:
    assert read(folder, {"train.txt": "007\nNA\n"}) == [{"text": "007"}, {"text": "NA"}]


PROGRAM = """
import json, sys
from rvpo.files.stored import stored
found = [stored(name, "train", "data.train.path") for name in sys.argv[1:]]
print(json.dumps([[each.revision, list(each.rows())] for each in found]))
"""


def test_a_dataset_of_the_hub_is_read_the_same_with_and_without_the_hub(tmp_path: Path) -> None:
    text = card("- config_name: default\n  data_files: rows/*.jsonl.gz\n")
    folder = tmp_path / "hub"
    repository(folder, {"README.md": text, "rows/a.jsonl.gz": gzip.compress(LINES)})

    def printed(*names: str, **variables: str) -> Any:
        own = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | own
        command = [sys.executable, "-c", PROGRAM, "somebody/rows", *names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = [COMMIT, ROWS]
    with hub(folder, "somebody/rows") as address:
        file = f"hf://datasets/somebody/rows@{COMMIT}/rows/*.gz"
        assert printed(file, HF_ENDPOINT=address) == [found, found]
    assert printed(HF_ENDPOINT=address) == [found]
    assert printed(HF_HUB_OFFLINE="1") == [found]
