"""The folder of one benchmark's results for one model.

    identity.json  samples/batch-000000.jsonl  samples/...  summary.json

A batch appears when all of it is graded, so a kill loses at most the batch under way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rvpo.errors import CheckpointError, ConfigError
from rvpo.evaluate.benchmark import Row, Score, Summary
from rvpo.report.run_folder import write_json, write_text

RUN = "run"
"""Of an identity: what one evaluation may have other than the next and still be compared with it,
its weights, its seed, and how many questions a batch has."""


class ResultFolder:
    """Where everything about one evaluation lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path / "identity.json"
        self.samples = path / "samples"
        self.summary = path / "summary.json"

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Begin, or go on with what was begun with the same settings.

        Raises:
            ConfigError: the folder has results of other questions, settings, grader or model.
        """
        wanted = json.loads(json.dumps(identity))
        if not self.identity.exists():
            write_json(self.identity, wanted)
            return
        known = _read(self.identity)
        if known != wanted:
            # By the names that say something: those of a run, not that it is another one.
            pairs = ((known, wanted), (known.get(RUN, {}), wanted.get(RUN, {})))
            changed = [k for old, new in pairs for k in new if k != RUN and old.get(k) != new[k]]
            raise ConfigError(
                f"{self.path} holds results that differ in {', '.join(changed)}, and scores of the "
                "two cannot be mixed; write elsewhere with --output, or remove the folder"
            )

    def batch(self, number: int) -> list[dict[str, Any]] | None:
        """The rows of a batch, or None if it is not done."""
        path = self._batch(number)
        if not path.exists():
            return None
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines if line]
        except ValueError as error:
            raise CheckpointError(
                f"{path} is damaged ({error}); remove it and give the same command again"
            ) from error

    def keep(self, number: int, rows: Sequence[Row]) -> None:
        """Write a batch, all or nothing."""
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        write_text(self._batch(number), "".join(lines))

    def conclude(self, summary: Summary) -> None:
        """Write the scores."""
        scores = {name: asdict(score) for name, score in summary.scores.items()}
        write_json(
            self.summary,
            {
                "scores": scores,
                "curves": list(summary.curves),
                "about": dict(summary.about),
                "by_question": dict(summary.by_question),
                "identity": _read(self.identity),
            },
        )

    def claimed(self) -> Mapping[str, Any]:
        """What the scores depend on; empty if nothing was begun."""
        return _read(self.identity) if self.identity.exists() else {}

    def concluded(self) -> Summary | None:
        """The scores, once there are some."""
        if not self.summary.exists():
            return None
        found = _read(self.summary)
        scores = {name: _score(score) for name, score in found["scores"].items()}
        return Summary(
            scores=scores,
            curves=tuple(found["curves"]),
            about=found["about"],
            by_question=found["by_question"],
        )

    def _batch(self, number: int) -> Path:
        return self.samples / f"batch-{number:06d}.jsonl"


def _score(found: Mapping[str, Any]) -> Score:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Score(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); remove its folder and give the same command again"
        ) from error
    return found
