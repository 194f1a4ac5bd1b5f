"""Rows that are read on their way come each once an epoch, in an order that the seed decides."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import DataError
from rvpo.files.row_order import Lines, Pieces, RowOrder, row_order
from rvpo.files.shard import Shard, StoredRows
from rvpo.files.stored import stored


def opened(path: Path | str, buffer: int = 5, split: str = "train") -> RowOrder:
    return row_order(stored(str(path), split, "data.train.path"), buffer, "data.train")


def lines(path: Path, numbers: Sequence[int], end: bytes = b"\n") -> Path:
    path.write_bytes(end.join(json.dumps({"n": n}).encode() for n in numbers))
    return path


def numbers(order: RowOrder, seed: str = "0", first: int = 0) -> list[int]:
    return [row["n"] for _, row in order.epoch(seed, first)]


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    buffer=st.integers(1, 9),
    first=st.integers(0, 12),
    packed=st.booleans(),
    end=st.sampled_from([b"\n", b"\r\n", b"\n\n \n"]),
)
def test_an_epoch_has_every_row_once_and_may_begin_anywhere(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    buffer: int,
    first: int,
    packed: bool,
    end: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    every = iter(range(100))
    for file, size in enumerate(sizes):
        path = lines(folder / f"{file}.jsonl", list(islice(every, size)), end)
        if packed:
            path.write_bytes(gzip.compress(path.read_bytes()))
    order = opened(folder / "*.jsonl", buffer)
    assert isinstance(order, Pieces if packed else Lines)
    assert sorted(numbers(order)) == list(range(sum(sizes)))
    assert numbers(order, "7", first) == numbers(order, "7")[first:]
    assert order.size in (None, sum(sizes))
    names = [name for name, _ in order.epoch("0")]
    assert len(set(names)) == len(names)


def test_seeds_differ_in_order_and_lines_are_mixed_across_files(tmp_path: Path) -> None:
    for file in range(2):
        lines(tmp_path / f"{file}.jsonl", range(100 * file, 100 * file + 100))
    order = opened(tmp_path / "*.jsonl")
    found = numbers(order)
    assert found != numbers(order, "1")
    assert found == numbers(opened(tmp_path / "*.jsonl"))
    assert 20 < sum(n < 100 for n in found[:100]) < 80


def test_row_groups_of_parquet_are_read_one_by_one(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(40))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    order = opened(tmp_path / "a.parquet", buffer=1)
    assert isinstance(order, Pieces)
    assert len(order.pieces) == 4
    assert sorted(numbers(order)) == list(range(40))
    assert len({n // 10 for n in numbers(order)[:10]}) == 1


@pytest.mark.parametrize(
    ("line", "words"), [(b"null", "line 3: is null"), (b'{"n": ', "line 3: is not JSON")]
)
def test_a_line_that_is_no_row_is_an_error_among_rows(
    tmp_path: Path, line: bytes, words: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\n\n' + line + b'\n{"n": 2}')
    found = [row for _, row in opened(path).epoch("0")]
    (error,) = (row for row in found if isinstance(row, DataError))
    assert f"'{path}', {words}" in str(error)
    assert sorted(row["n"] for row in found if row is not error) == [1, 2]


def test_a_list_of_rows_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps([{"n": n} for n in range(5)]))
    order = opened(tmp_path / "a.jsonl")
    assert order.size is None
    assert sorted(numbers(order)) == [0, 1, 2, 3, 4]


def test_part_of_a_split_is_no_stream(tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", range(5))
    with pytest.raises(DataError, match=r"data.train.streaming: reads whole splits"):
        opened(tmp_path, split="train[:3]")


def test_a_row_that_no_text_can_pack_is_held_as_it_is(tmp_path: Path) -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    order = Pieces([lambda: [{"n": 1, "deep": deep}]], buffer=3)
    ((_, row),) = order.epoch("0")
    assert row["deep"] is deep


def test_a_file_is_fetched_when_its_turn_comes(tmp_path: Path) -> None:
    fetched: list[int] = []

    def far(number: int) -> Shard:
        def locate() -> list[Path]:
            fetched.append(number)
            return [lines(tmp_path / f"{number}.jsonl", range(10 * number, 10 * number + 10))]

        return Shard(f"data.train.path: '{number}'", locate, is_here=False)

    order = row_order(StoredRows([far(number) for number in range(5)]), 4, "data.train")
    assert fetched == []
    assert len(list(islice(order.epoch("0"), 14))) == 14
    assert len(fetched) == 2
    assert len(list(islice(order.epoch("0", 14), 36))) == 36
    assert sorted(fetched[2:]) == [0, 1, 2, 3, 4]


def broken(folder: Path, kind: str) -> Path:
    """A file of the numbers 0, 1 and 3, with a row between that cannot be read."""
    path = folder / f"rows{kind}"
    match kind:
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(b'{"n": 0}\n{"n": 1}\n{"n": \n{"n": 3}\n'))
        case ".json":
            path.write_text('[{"n": 0}, {"n": 1}, [2], {"n": 3}]')
        case ".parquet":
            days = pa.array([0, 0, 10**9, 0], pa.int32()).cast(pa.date32())
            pq.write_table(pa.table({"n": [0, 1, 2, 3], "day": days}), path)
        case _:
            path.write_text(
                {"cells": "n,a\n0,\n1,\n2,,\n3,\n", "quotes": 'n\n0\n1\n"2"x\n3\n'}[kind]
            )
            path = path.rename(folder / "rows.csv")
    return path


@pytest.mark.parametrize("kind", [".jsonl.gz", ".json", ".parquet", "cells", "quotes"])
def test_a_row_that_cannot_be_read_stands_alone(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path, kind)
    found = [row for _, row in opened(path).epoch("0")]
    read = [int(row["n"]) for row in found if not isinstance(row, DataError)]
    assert sorted(read) == [0, 1, 3]
    (error,) = [row for row in found if isinstance(row, DataError)]
    with pytest.raises(DataError) as raised:  # rows that are not streamed
        list(stored(str(path), "train", "data.train.path").rows())
    assert str(raised.value) == str(error)
