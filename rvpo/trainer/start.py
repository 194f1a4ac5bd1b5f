"""Record of a run's starts and continuations, and of what it was made of each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rvpo.errors import CheckpointError, DataError
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.report.stored import damaged, read_json
from rvpo.trainer.digest import FIRST_PROMPTS, PROMPTS, WEIGHTS


class Start(BaseModel):
    """The first start of a run, or a later one that continued it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: datetime
    """Local time. That of the first is what chat templates take for today as long as the run
    lasts, so that its prompts do not change overnight."""
    step: int = Field(ge=0)
    """Updates done before."""
    inputs: dict[str, str | None]
    """See `digests`; of a later start what had changed, None where it was gone."""


_STARTS = TypeAdapter(tuple[Start, ...])


def read_starts(folder: RunFolder) -> tuple[Start, ...]:
    """The starts of a run, in order; empty if its folder does not tell.

    Raises:
        CheckpointError: `provenance.json` is damaged.
    """
    if not folder.provenance.exists():
        return ()
    advice = (
        "; bring it back, or move it elsewhere to go on without knowing whether the run's data, "
        "model and code are still the same"
    )
    found = read_json(folder.provenance, advice)
    try:
        return _STARTS.validate_python(found.get("starts", ()))
    except (ValidationError, AttributeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "it is no table"
        raise damaged(folder.provenance, first, advice) from error


def add_start(folder: RunFolder, new: Start) -> None:
    """Note that a run goes on.

    Raises:
        CheckpointError: it cannot be written, or what was noted is damaged.
    """
    starts = read_starts(folder)
    known: dict[str, Any] = read_json(folder.provenance) if folder.provenance.exists() else {}
    changed = {name: new.inputs.get(name) for name in changed_inputs(starts, new.inputs)}
    after = [*starts, new.model_copy(update={"inputs": changed} if starts else {})]
    write_json(folder.provenance, known | {"starts": [s.model_dump(mode="json") for s in after]})


def changed_inputs(starts: Sequence[Start], inputs: Mapping[str, str | None]) -> list[str]:
    """The names of what is other than at the last start."""
    known = _known(starts)
    return [name for name in {**known, **inputs} if known.get(name) != inputs.get(name)]


def check_inputs(
    path: Path,
    starts: Sequence[Start],
    inputs: Mapping[str, str],
    say: Callable[[str], None],
    *,
    beside_model: bool = False,
) -> None:
    """Tell what a resumed run is made of that it was not made of before.

    Args:
        path: the run's folder.
        beside_model: its checkpoints hold adapters alone, which belong to the model's weights.
        say: told what changed, where the run can go on.

    Raises:
        DataError: its prompts are other ones.
        CheckpointError: the weights that its adapters belong to are other ones.
    """
    if not starts:
        say(
            f"{path}: provenance.json does not say what this run was made of, so nobody can tell "
            "whether its data, model and code are still the same"
        )
        return
    changed = changed_inputs(starts, inputs)
    when = f"{starts[-1].date:%Y-%m-%d %H:%M}"
    if beside_model and WEIGHTS in changed and WEIGHTS in inputs:
        raise CheckpointError(
            f"{path}: the weights of model.path are others than since {when}, and this run's "
            "checkpoints hold adapters of those alone; restore the files of model.path, or start "
            "a new run: output=runs/NAME"
        )
    causes = [name for name in changed if name.split()[0] in _OF_PROMPTS]
    tokens = [name for name in changed if name in (PROMPTS, FIRST_PROMPTS)]
    made_alike = not any(cause for cause in causes if not cause.startswith("version"))
    # The run has the digest of all prompts, and only the first are read: two that do not compare.
    if len(tokens) == 2 and FIRST_PROMPTS in inputs and made_alike:
        changed, tokens = [name for name in changed if name not in tokens], []
    if tokens:
        why = f", after a change of the {_and(causes)}" if causes else ""
        raise DataError(
            f"{path}: the prompts are other tokens than those this run was trained on{why} since "
            f"{when}; restore what they were made of, or start a new run: output=runs/NAME"
        )
    if changed:
        told = _and([_told(name, _known(starts), inputs) for name in changed])
        say(f"{path}: this run goes on, but these changed since {when}: {told}")


_OF_PROMPTS = {"rows", "chat", "tokenizer", "version"}
"""First words of what prompts are made of."""


def _known(starts: Sequence[Start]) -> dict[str, str | None]:
    return {name: value for start in starts for name, value in start.inputs.items()}


def _told(name: str, known: Mapping[str, str | None], inputs: Mapping[str, str]) -> str:
    """A digest says nothing to a reader, a version does."""
    if name.partition(" ")[0] != "version":
        return name
    return f"{name} ({known.get(name) or 'none'}, now {inputs.get(name) or 'none'})"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
