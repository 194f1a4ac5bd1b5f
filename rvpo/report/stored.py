"""Reading back what a run wrote: as it was written, or one sentence that says what is damaged.

A run's folder is a place where disks fill, kills tear, editors save and people tidy up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

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


_METRICS: Final = TypeAdapter(dict[Text, Number], config=ConfigDict(strict=True))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        CheckpointError: the file cannot be read, or is no JSON.
    """
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error


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

    Raises:
        CheckpointError: another line is damaged, or is not that of the next step.
    """
    if not path.exists():
        return []
    steps: list[dict[str, float]] = []
    for number, line in enumerate(_read(path).split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            _METRICS.validate_python(row)
            if type(row["step"]) is not int or row["step"] != number:
                raise ValueError(f"it is not that of step {number}")
        except (ValueError, KeyError, RecursionError) as error:
            what = _told(error) if isinstance(error, ValidationError) else error
            raise CheckpointError(
                f"{path}, line {number} is damaged ({what}); remove the run's folder to train it "
                "anew"
            ) from error
        steps.append({"step": row["step"], **row})
    return steps


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of `samples/`.

    Raises:
        CheckpointError: it is damaged.
    """
    advice = "; remove it to go on without"
    try:
        # Not `splitlines`: JSON may hold Unicode's other line breaks as they are.
        rows = [json.loads(line) for line in _read(path).decode().split("\n") if line]
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, advice) from error
    for row in rows:
        checked(_Sample, row, path, advice)
    return rows


def damaged(path: Path, what: object, advice: str = "") -> CheckpointError:
    """The sentence about a file that is not what was written."""
    return CheckpointError(f"{path} is damaged ({what}){advice}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
