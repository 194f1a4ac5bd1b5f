"""Rows of a HealthBench file: conversations, and criteria with points and tags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvpo.errors import DataError
from rvpo.files.json_file import json_lines
from rvpo.files.literal import read_list
from rvpo.files.stored import stored_rows
from rvpo.types import Message

_WHERE = "benchmarks.healthbench.path"
_HUB_FILE = re.compile(r"(?P<dataset>[\w.-]+/[\w.-]+)/(?P<file>[^/].*)")


@dataclass(frozen=True, slots=True)
class Item:
    """One criterion, as the file has it."""

    criterion: str
    points: float
    """Points for meeting it: above 0 something to do, below 0 something to avoid."""
    tags: tuple[str, ...]

    def __str__(self) -> str:
        """The item as graders read it: the points in brackets first."""
        points = int(self.points) if self.points == int(self.points) else self.points
        return f"[{points}] {self.criterion}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One conversation, whose last turn is the user's, and what is asked of the answer."""

    id: str
    messages: tuple[Message, ...]
    items: tuple[Item, ...]
    tags: tuple[str, ...]
    canary: str


def read_records(path: str, split: str) -> list[Record]:
    """The records of a file here or on the Hub, texts exactly as they are there.

    Raises:
        DataError: it cannot be read, or a row is no record: the published score counts every row.
    """
    rows = _lines(_file(path)) if path.endswith(".jsonl") else stored_rows(path, split, _WHERE)
    if not rows:
        raise DataError(f"{_WHERE}: '{path}' has no rows")
    records = []
    for number, row in enumerate(rows, start=1):
        try:
            records.append(_record(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{_WHERE}: '{path}', row {number} is no HealthBench record ({error})"
            ) from None
    ids = [record.id for record in records]
    if len(set(ids)) < len(ids):
        twice = next(each for each in ids if ids.count(each) > 1)
        raise DataError(f"{_WHERE}: '{path}' has two records with the prompt_id {twice!r}")
    return records


def _file(path: str) -> Path:
    """A file here, or one that a dataset of the Hub has by that name: sets of other columns lie
    side by side there, so no split could tell them apart."""
    local = Path(path).expanduser()
    named = _HUB_FILE.fullmatch(path)
    if local.exists() or named is None:
        return local
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(named["dataset"], named["file"], repo_type="dataset"))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{_WHERE}: there is no file '{path}' here, and it cannot be had from the Hub "
            f"({reason}); give a .jsonl file of HealthBench, or one of the Hub such as "
            "openai/healthbench/hard_2025-05-08-21-00-10.jsonl"
        ) from error


def _lines(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            return [row for _, row in json_lines(file, f"{_WHERE}: '{path}'")]
    except OSError as error:
        raise DataError(
            f"{_WHERE}: '{path}' cannot be read ({error}); give a .jsonl file of HealthBench, or "
            "one of the Hub such as openai/healthbench/hard_2025-05-08-21-00-10.jsonl"
        ) from error


def _record(row: Any) -> Record:
    if not isinstance(row, Mapping):
        raise TypeError("it is no table")
    messages = tuple(_message(turn) for turn in _list(row, "prompt"))
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("its conversation does not end with the user")
    items = tuple(_item(item) for item in _list(row, "rubrics"))
    if not any(item.points > 0 for item in items):
        raise ValueError("no criterion has points above 0, so it could have no score")
    return Record(
        id=_text(row["prompt_id"], "prompt_id"),
        messages=messages,
        items=items,
        tags=tuple(_text(tag, "example_tags") for tag in _list(row, "example_tags")),
        canary=str(row.get("canary") or ""),
    )


def _message(turn: Any) -> Message:
    return {"role": _text(turn["role"], "role"), "content": _text(turn["content"], "content")}


def _item(item: Any) -> Item:
    points = item["points"]
    if isinstance(points, bool) or not isinstance(points, int | float) or not math.isfinite(points):
        raise ValueError(f"points are {points!r}")
    tags = tuple(_text(tag, "tags") for tag in read_list(item.get("tags") or []) or [])
    return Item(_text(item["criterion"], "criterion"), float(points), tags)


def _list(row: Mapping[str, Any], name: str) -> list[Any]:
    found = read_list(row[name])
    if found is None:
        raise TypeError(f"{name} is no list")
    return found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}, no text")
    return value
