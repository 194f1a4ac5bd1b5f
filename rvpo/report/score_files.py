"""The reward matrix of every step in a file of its own, for whoever asks what it would have taught.

    scores/step-000001.npz

One file holds the step of all ranks, every value to the last bit: what an estimator was given, and
what it made of it. The samples beside it hold the same scores with texts of thousands of times
their size, each rank's in a file of its own, and may be removed on the way
(`report.samples.keep`); these stay.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rvpo.errors import CheckpointError
from rvpo.lazy import numpy, torch
from rvpo.report.record import StepRecord
from rvpo.report.run_folder import RunFolder, steps_in, write_bytes
from rvpo.report.stored import Number, Stored, Text, checked, damaged
from rvpo.satisfied import Satisfied
from rvpo.schedule import progress_at
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor

_ADVICE = "; move it elsewhere, and the step's samples are read if they are there"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepScores:
    """The reward matrix of a step, and the advantages that trained on it."""

    step: int
    """Optimizer updates done after it, so the first one is 1."""
    progress: float
    """Share of training done before it, in [0, 1]."""
    rewards: Rewards
    aspects: Mapping[str, Tensor]  # [N, M] bool each
    """See `RolloutScores.aspects`."""
    advantages: Tensor  # [N]
    trained: Tensor  # [N] bool


class _Bounds(Stored):
    bad: Number
    good: Number


class _Header(Stored):
    step: Annotated[int, Field(ge=1)]
    progress: Annotated[Number, Field(ge=0, le=1)]
    names: list[Text]
    group_size: int
    prompts: list[Text] | None
    satisfied: list[_Bounds | None]
    aspects: list[Text]


class ScoreFiles:
    """A report that writes each step's reward matrix, of all ranks; for the main rank alone.

    Args:
        folder: the run's.
        steps: those of the whole training.
    """

    def __init__(self, folder: RunFolder, steps: int) -> None:
        self._folder = folder
        self._steps = range(steps)

    def __call__(self, record: StepRecord) -> None:
        """Write the step's matrix.

        Raises:
            CheckpointError: the disk is full, or the file may not be written.
        """
        scored = record.scored
        write_scores(
            self._folder,
            StepScores(
                step=record.step,
                progress=progress_at(record.step - 1, self._steps),
                rewards=scored.rewards,
                aspects=scored.aspects,
                advantages=record.advantages.values,
                trained=record.advantages.trained,
            ),
        )

    def close(self) -> None:
        """Nothing is left open between steps."""


def write_scores(folder: RunFolder, scores: StepScores) -> None:
    """Write the file of a step.

    Raises:
        CheckpointError: the disk is full, or the file may not be written.
    """
    rewards = scores.rewards
    header = {
        "step": scores.step,
        "progress": scores.progress,
        "names": list(rewards.names),
        "group_size": rewards.group_size,
        "prompts": None if rewards.prompts is None else list(rewards.prompts),
        "satisfied": [s and {"bad": s.bad, "good": s.good} for s in rewards.satisfied],
        "aspects": list(scores.aspects),
    }
    # Within a group a column belongs to an aspect as a whole.
    masks = [mask[:: rewards.group_size].reshape(-1) for mask in scores.aspects.values()]
    tensors = {
        "values": rewards.values,
        "valid": rewards.valid,
        "weights": rewards.weights,
        "advantages": scores.advantages,
        "trained": scores.trained,
        "aspects": torch.stack(masks) if masks else torch.zeros(0, 0, dtype=torch.bool),
    }
    if rewards.reliability is not None:
        tensors["reliability"] = rewards.reliability
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    arrays["header"] = numpy.frombuffer(json.dumps(header).encode(), dtype=numpy.uint8)
    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **arrays)
    write_bytes(score_file(folder, scores.step), buffer.getvalue())


def score_file(folder: RunFolder, step: int) -> Path:
    """File of a step's matrix."""
    return folder.scores / f"step-{step:06d}.npz"


def scored_steps(folder: RunFolder) -> list[int]:
    """Steps whose matrix there is, in order."""
    return sorted(steps_in(folder.scores, "step-*.npz").values())


def read_scores(folder: RunFolder, step: int) -> StepScores:
    """The matrix of a step.

    Raises:
        CheckpointError: its file is damaged, or cannot be read.
    """
    path = score_file(folder, step)
    try:
        raw = path.read_bytes()
        if not raw.startswith(b"PK"):  # numpy would take it for something else
            raise ValueError("it is no archive of arrays")
        with numpy.load(io.BytesIO(raw), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = checked(_Header, json.loads(arrays["header"].tobytes()), path, _ADVICE)
        if header.step != step:
            raise ValueError(f"it is of step {header.step}")
        return _scores(header, arrays)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}){_ADVICE}") from error
    except KeyError as error:
        raise damaged(path, f"it has no {error}", _ADVICE) from error
    except (
        ValueError,
        EOFError,
        TypeError,
        RuntimeError,  # of torch, about shapes
        RecursionError,
        MemoryError,  # for the shape that a damaged header claims
        NotImplementedError,  # of zipfile, about a flag of what it cannot read
        tokenize.TokenError,  # of numpy, about the header of an array
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise damaged(path, error, _ADVICE) from error


def _scores(header: _Header, arrays: Mapping[str, Any]) -> StepScores:
    """
    Raises:
        ValueError, RuntimeError, TypeError: the parts do not belong together.
        KeyError: one of them is not there.
    """
    values = torch.from_numpy(arrays["values"])
    reliability = arrays.get("reliability")
    rewards = Rewards(
        values,
        header.names,
        header.group_size,
        weights=torch.from_numpy(arrays["weights"]),
        valid=torch.from_numpy(arrays["valid"]),
        prompts=header.prompts,
        reliability=None if reliability is None else torch.from_numpy(reliability),
        satisfied=[None if s is None else Satisfied(s.bad, s.good) for s in header.satisfied],
    )
    groups = (len(values) // header.group_size, len(header.names))  # P, M
    masks = torch.from_numpy(arrays["aspects"]).bool()
    every = [mask.reshape(groups) for mask in masks]
    advantages = torch.from_numpy(arrays["advantages"])
    trained = torch.from_numpy(arrays["trained"])
    if not len(advantages) == len(trained) == len(values) or trained.dtype != torch.bool:
        raise ValueError(f"there are not {len(values)} advantages")
    if not advantages.is_floating_point() or not bool(advantages.isfinite().all()):
        raise ValueError("its advantages are not all numbers")
    return StepScores(
        step=header.step,
        progress=header.progress,
        rewards=rewards,
        aspects={
            name: mask.repeat_interleave(header.group_size, dim=0)
            for name, mask in zip(header.aspects, every, strict=True)
        },
        advantages=advantages,
        trained=trained,
    )
