"""Damaged data files are read right or refused in one sentence that names the file.

Each case follows from its number. RVPO_FUZZ_SECONDS asks for as many as fit into that time.
"""

import csv
import io
import json
import os
import random
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rvpo.config.data import DatasetSource
from rvpo.data.sources import load_prompts
from rvpo.errors import DataError
from rvpo.files.stored import stored_rows

CASES = 400
ROWS: list[dict[str, Any]] = [
    {"prompt": "1 + 1?", "answer": 2, "id": "a", "day": "2024-05-01", "parts": [1, None, {"k": 2}]},
    {"prompt": "Grüße \u2028 \U0001f600", "answer": None, "id": "b", "day": "", "parts": []},
    {"prompt": [{"role": "user", "content": 'a "b", c'}], "answer": 2**63, "id": "c", "parts": {}},
]
PIECES = [
    b"null", b"NaN", b"-Infinity", b"true", b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"\n",
    b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"\x00", b"\\ud800", b"\\u0000", b"[" * 3000,
    b"9" * 5000, b"1e999", b"'",
    b" ", b"\xe2\x80\xa8", b'{"prompt": "x"}', b"[1]", b'"prompt"', b"\xed\xa0\x80",
]  # fmt: skip


def seeds(suffix: str) -> bytes:
    if suffix == ".jsonl":
        return "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
    if suffix == ".json":
        return json.dumps(ROWS, indent=1).encode()
    if suffix == ".csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["prompt", "answer"], ["a, b", '"1"'], ["c\nd", "007"]])
        return text.getvalue().encode()
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"prompt": str(i), "n": i} for i in range(40)]), sink)
    return sink.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case 1:
                data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 2:
                data = data[:at] + data[min(end, at + 20) :]
            case 3:
                data = data[:end] + data[at:end] + data[end:]
            case 4:
                data = data[:at]
            case 5:
                data = chance.choice(PIECES) + data
    return data


def numbers() -> Iterator[int]:
    seconds = os.environ.get("RVPO_FUZZ_SECONDS")
    until = time.monotonic() + float(seconds or 0)
    for number in count():
        if number >= CASES if seconds is None else time.monotonic() > until:
            return
        yield number


def lines_that_json_reads(data: bytes) -> list[Any] | None:
    """What a file of JSON lines must give, or None where a line must be refused."""
    try:
        lines = data.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        json.dumps(rows, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path: Path, suffix: str) -> None:
    whole = seeds(suffix)
    file = tmp_path / f"rows{suffix}"
    read = 0
    for number in numbers():
        data = mutated(whole, random.Random(f"{suffix}/{number}"))
        file.write_bytes(data)
        try:
            load_prompts(DatasetSource(path=str(file)), None, "data.train")
            read += 1
        except DataError as error:
            sentence = str(error)
            assert sentence.startswith("data.train"), f"case {number}: {sentence!r}"
            assert "\n" not in sentence, f"case {number}: {sentence!r}"
        except Exception as error:
            raise AssertionError(f"case {number} of {suffix}: {error!r}") from error
        if suffix == ".jsonl" and not data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
            expected = lines_that_json_reads(data)
            if expected is not None:
                assert repr(stored_rows(str(file), "train", "x")) == repr(expected), number
    assert read > 0
