"""Invented rows of BFCL, and folders that look like its wheel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rvpo.benchmarks.bfcl.check import check
from rvpo.benchmarks.bfcl.distribution import Version
from rvpo.benchmarks.bfcl.rows import Language
from rvpo.benchmarks.bfcl.verdict import CallCheck

CITY = {"type": "string", "description": "Where."}


def function(
    properties: dict[str, Any], required: Sequence[str] = (), name: str = "weather"
) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Tells it.",
        "parameters": {"type": "dict", "properties": properties, "required": list(required)},
    }


def judge(
    declared: str | dict[str, Any],
    value: Any,
    accepted: Sequence[Any],
    language: Language = "python",
) -> CallCheck:
    """The verdict on a call with one parameter, `x`."""
    schema = {"type": declared} if isinstance(declared, str) else declared
    return check(
        [function({"x": schema}, ["x"])],
        [{"weather": {"x": value}}],
        [{"weather": {"x": list(accepted)}}],
        language,
        "simple_python",
    )


def list_of(inner: str, declared: str = "array") -> dict[str, Any]:
    return {"type": declared, "items": {"type": inner}}


def question(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"multiple_{number}",
        "question": [[{"role": "user", "content": "Rain?"}]],
        "function": [function({"city": CITY}, ["city"])],
    }
    return row | changes


def answer(number: int, **changes: Any) -> dict[str, Any]:
    row = {"id": f"multiple_{number}", "ground_truth": [{"weather": {"city": ["Oslo", ""]}}]}
    return row | changes


def write(folder: Path, name: str, rows: Sequence[Any]) -> None:
    file = folder / "bfcl_eval" / "data" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(texts), encoding="utf-8")


def unpacked(
    folder: Path,
    questions: Sequence[Any],
    answers: Sequence[Any] | None,
    category: str = "multiple",
    version: Version = "v4",
) -> Path:
    """A folder that one category of a wheel was unpacked into."""
    write(folder, f"BFCL_{version}_multiple.json", [])  # tells the version
    write(folder, f"BFCL_{version}_{category}.json", questions)
    if answers is not None:
        write(folder, f"possible_answer/BFCL_{version}_{category}.json", answers)
    return folder
