"""Reading back what a run wrote: as it was written, or one sentence that says what is damaged.

A run's folder is a place where disks fill, kills tear, editors save and people tidy up.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    TypeAdapter,
    ValidationError,
)

from rvpo.errors import CheckpointError
from rvpo.files.gzipped import unzipped

M = TypeVar("M", bound=BaseModel)

Text = InstanceOf[str]
"""A text that may hold lone surrogates, as models write them."""
Number = FiniteFloat
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Stored(BaseModel):
    """The form of a value that was written as JSON; further keys may stand beside its own."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Turn(Stored):
    role: Text
    content: Text


class _Said(Stored):
    question: Text
    answer: Text
    reason: Text


class _SaidOfEach(Stored):
    criteria: Annotated[list[_Said], Field(min_length=1)]


class _EpisodeTurn(Stored):
    by: Literal["policy", "world"]
    messages: Annotated[list[_Turn], Field(min_length=1)]
    start: int
    stop: int
    given: int


class _Episode(Stored):
    ending: Text
    reason: Text
    calls: int
    failures: list[Text]
    rewritten: Text
    turns: Annotated[list[_EpisodeTurn], Field(min_length=1)]


class _Sample(Stored):
    step: int
    prompt_id: Text
    prompt: list[_Turn]
    completion: Text
    scores: dict[Text, Number | None]
    z: dict[Text, Number | None]
    failures: dict[Text, Text]
    remarks: dict[Text, _Said | _SaidOfEach]
    advantage: Number
    episode: _Episode | None = None


_METRICS: Final = TypeAdapter(dict[Text, Number], config=ConfigDict(strict=True))


def read_json(path: Path, advice: str = "") -> Any:
    """The value in a JSON file.

    Args:
        advice: the way to go on without it.

    Raises:
        CheckpointError: the file cannot be read, or is no JSON.
    """
    try:
        return json.loads(_read(path, advice))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, advice) from error


def checked(form: type[M], value: Any, path: Path, advice: str = "") -> M:
    """A value from a file in the form that it must have.

    Raises:
        CheckpointError: it has another one.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise damaged(path, _told(error), advice) from error


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`, without a last one that a kill tore; empty if no file.

    Line N is that of step N. A step whose metrics were lost has its number alone.

    Raises:
        CheckpointError: another line is damaged, or is not that of the next step.
    """
    rows: list[dict[str, float]] = []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            row = _metrics(line)
            if row["step"] != number:
                raise ValueError(f"it is not that of step {number}")
        except ValueError as error:
            raise CheckpointError(
                f'{path}, line {number} is damaged ({error}); a line {{"step": {number}}} stands '
                "for a step without metrics, and `rvpo train --resume` writes it by itself"
            ) from error
        rows.append(row)
    return rows


def surviving_metrics(path: Path) -> dict[int, dict[str, float]]:
    """Readable rows of a `metrics.jsonl`, by step; of two lines of a step, the first.

    Raises:
        CheckpointError: the file cannot be read at all.
    """
    found: dict[int, dict[str, float]] = {}
    for line in _whole_lines(path):
        with suppress(ValueError):
            row = _metrics(line)
            found.setdefault(int(row["step"]), row)
    return found


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of `samples/`, compressed or not.

    Raises:
        CheckpointError: it is damaged.
    """
    advice = "; move it elsewhere to go on without"
    try:
        # Not `splitlines`: JSON may hold Unicode's other line breaks as they are.
        text = unzipped(_read(path, advice)).decode()
        rows = [json.loads(line) for line in text.split("\n") if line]
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, advice) from error
    for row in rows:
        checked(_Sample, row, path, advice)
    return rows


def damaged(path: Path, what: object, advice: str = "") -> CheckpointError:
    """The sentence about a file that is not what was written."""
    return CheckpointError(f"{path} is damaged ({what}){advice}")


def _whole_lines(path: Path) -> list[bytes]:
    return _read(path).split(b"\n")[:-1] if path.exists() else []


def _metrics(line: bytes) -> dict[str, float]:
    """A line of a `metrics.jsonl`, its step first.

    Raises:
        ValueError: it is none.
    """
    try:
        row = json.loads(line)
        _METRICS.validate_python(row)
    except ValidationError as error:
        raise ValueError(_told(error)) from error
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if type(row.get("step")) is not int or row["step"] < 1:
        raise ValueError("it names no step")
    return {"step": row["step"], **row}


def _read(path: Path, advice: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}){advice}") from error


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
