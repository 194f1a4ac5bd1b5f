"""Compressed files, patterns and folders give the rows of the plain files that they stand for."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rvpo.errors import DataError
from rvpo.files.stored import needs_extra, stored, stored_rows

ROWS: list[dict[str, Any]] = [{"prompt": "a", "n": 7}, {"prompt": "é", "n": None}]
LINES = "\n".join(map(json.dumps, ROWS)).encode()
TABLE = b"prompt,n\na,007\n"


def read(path: Path | str, split: str = "train") -> list[Any]:
    return stored_rows(str(path), split, "data.train.path")


def refusal(path: Path | str) -> str:
    with pytest.raises(DataError) as error:
        read(path)
    sentence = str(error.value)
    assert sentence.startswith("data.train.path: ")
    assert "\n" not in sentence
    return sentence


def written(path: Path, content: bytes = LINES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


PACKED = [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
def test_a_compressed_file_has_the_rows_of_the_plain_one(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    assert read(written(tmp_path / f"a.jsonl{suffix}", pack(LINES))) == ROWS
    whole = json.dumps(ROWS, indent=1).encode()
    assert read(written(tmp_path / f"a.json{suffix}", pack(whole))) == ROWS
    assert read(written(tmp_path / f"a.csv{suffix}", pack(TABLE))) == [{"prompt": "a", "n": "007"}]
    assert read(written(tmp_path / f"none.jsonl{suffix}", pack(b""))) == []


@pytest.mark.parametrize(("suffix", "pack"), PACKED)
def test_a_compressed_file_that_is_cut_off_is_one_sentence(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(b"\n".join(json.dumps({"n": n, "x": str(n**9)}).encode() for n in range(5000)))
    assert "is damaged" in refusal(written(tmp_path / f"a.jsonl{suffix}", whole[:-20]))


def test_a_suffix_does_not_make_a_file_compressed(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.jsonl.gz")) == ROWS
    assert read(written(tmp_path / "b.jsonl", gzip.compress(LINES))) == ROWS


def test_tabs_and_lines_have_names_of_their_own(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.tsv", b"prompt\tn\na,b\t1\n")) == [
        {"prompt": "a,b", "n": "1"}
    ]
    assert read(written(tmp_path / "a.ndjson")) == ROWS


def test_a_pattern_gives_the_rows_of_its_files_by_name(tmp_path: Path) -> None:
    for name, number in (("rows-2.jsonl", 2), ("rows-1.json", 1), ("other.jsonl", 3)):
        written(tmp_path / "deep" / name, json.dumps({"n": number}).encode())
    assert read(tmp_path / "deep" / "rows-*") == [{"n": 1}, {"n": 2}]
    assert read(tmp_path / "**" / "*.jsonl") == [{"n": 3}, {"n": 2}]
    assert len(stored(str(tmp_path / "*" / "*.jsonl"), "train", "x").shards) == 2
    assert "no file is named" in refusal(tmp_path / "none-*.jsonl")
    written(tmp_path / "deep" / "rows-3.txt", b"a")
    assert "rows-3.txt' is of an unknown kind" in refusal(tmp_path / "deep" / "rows-*")


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    written(tmp_path / "a1.jsonl")
    written(tmp_path / "a[1].jsonl", b'{"n": 5}')
    assert read(tmp_path / "a[1].jsonl") == [{"n": 5}]


def test_a_folder_has_the_rows_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "rows.parquet"  # as tools that write many files name it
    written(folder / "train-00000-of-00002.jsonl", b'{"n": 1}')
    written(folder / "train-00001-of-00002.jsonl.gz", gzip.compress(b'{"n": 2}'))
    written(folder / "test-00000-of-00001.jsonl", b'{"n": 3}')
    assert read(folder) == [{"n": 1}, {"n": 2}]
    assert read(folder, "test") == [{"n": 3}]
    assert stored(str(folder), "train", "x").revision is None
    assert needs_extra(str(folder))


@pytest.mark.parametrize(
    ("name", "far"),
    [
        *(("a.jsonl.gz", False), ("a*.csv", False), ("a.tsv.xz", False), ("a-*.parquet", True)),
        *(("owner/name", True), ("hf://datasets/owner/name/a.jsonl", True)),
    ],
)
def test_what_takes_more_packages_is_told_by_the_name(name: str, far: bool) -> None:
    assert needs_extra(name) is far
