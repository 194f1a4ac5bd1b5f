"""The folder of one benchmark's results for one model.

    identity.json  samples/batch-000000.jsonl  samples/...  summary.json

A batch appears when all of it is graded, so a kill loses at most the batch under way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rvpo.benchmarks.benchmark import BenchmarkSummary, Row, Score
from rvpo.errors import CheckpointError, ConfigError
from rvpo.report.run_folder import RunFolder, write_json, write_text
from rvpo.report.stored import Number, Pair, Stored, Text, checked, damaged, read_json
from rvpo.types import Prompt

RUN = "run"
"""Key of an identity for what one evaluation may have other than the next and still be compared
with it: its weights, its seed, and how many questions a batch has."""


_ADVICE = "; bring it back, or move its folder elsewhere and give the same command again"
_REMAKE = "; move it elsewhere and give the same command again, which makes it from the samples"


class _ScoreFile(Stored):
    value: Number | None
    count: int
    interval: Pair | None = None
    coverage: Number | None = None
    possible: Pair | None = None


class _SummaryFile(Stored):
    scores: Annotated[dict[Text, _ScoreFile], Field(min_length=1)]
    curves: list[Text]
    about: dict[Text, Any]
    by_question: dict[Text, Number]


class ResultFolder:
    """Folder of everything about one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path / "identity.json"
        self.samples = path / "samples"
        self.summary = path / "summary.json"

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Begin, or go on with what was begun with the same settings.

        Raises:
            ConfigError: the folder has results of other questions, settings, grader or model.
            CheckpointError: it does not say of what its results are.
        """
        wanted = json.loads(json.dumps(identity))
        if not self.identity.exists():
            if any(self.samples.glob("*")):
                raise CheckpointError(
                    f"{self.path} has samples, but no {self.identity.name} that says of what; "
                    "bring it back, or move the folder elsewhere and give the same command again"
                )
            write_json(self.identity, wanted)
            return
        known = _read(self.identity)
        if known != wanted:
            # By the names that say something: those of a run, not that it is another one.
            pairs = ((known, wanted), (known.get(RUN, {}), wanted.get(RUN, {})))
            changed = [
                key
                for old, new in pairs
                for key in {**old, **new}
                if key != RUN and old.get(key) != new.get(key)
            ]
            raise ConfigError(
                f"{self.path} holds results that differ in {', '.join(changed)}, and scores of the "
                "two cannot be mixed; write elsewhere with --output, or move the folder"
            )

    def batch(self, number: int, prompts: Sequence[Prompt]) -> list[dict[str, Any]] | None:
        """The rows of a batch, or None if it is not done.

        Args:
            prompts: the batch's.

        Raises:
            CheckpointError: the file is damaged, or holds answers to other prompts.
        """
        path = self._batch(number)
        if not path.exists():
            return None
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            rows = [json.loads(line) for line in lines if line]
            asked = [(row["id"], row["prompt"]) for row in rows]
            if asked != [(each.id, list(map(dict, each.messages))) for each in prompts]:
                raise ValueError("it holds answers to other prompts")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{path} is damaged ({error}); move it elsewhere and give the same command again"
            ) from error
        return rows

    def keep(self, number: int, rows: Sequence[Row]) -> None:
        """Write a batch, all or nothing."""
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        write_text(self._batch(number), "".join(lines))

    def conclude(self, summary: BenchmarkSummary) -> None:
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
        """Identity that the scores depend on; empty if nothing was begun."""
        return _read(self.identity) if self.identity.exists() else {}

    def concluded(self) -> BenchmarkSummary | None:
        """The scores, once there are some."""
        if not self.summary.exists():
            return None
        found = checked(_SummaryFile, _read(self.summary, _REMAKE), self.summary, _REMAKE)
        return BenchmarkSummary(
            scores={name: _score(score.model_dump()) for name, score in found.scores.items()},
            curves=tuple(found.curves),
            about=found.about,
            by_question=found.by_question,
        )

    def _batch(self, number: int) -> Path:
        return self.samples / f"batch-{number:06d}.jsonl"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Result of a benchmark after a step of a run."""

    benchmark: str
    step: int
    folder: ResultFolder
    summary: BenchmarkSummary


def results_of(run: RunFolder) -> Iterator[Evaluated]:
    """Results of a run's benchmarks while it trained, each in the order of steps.

    Raises:
        CheckpointError: a file is damaged.
    """
    for name in sorted(path.name for path in run.benchmarks.glob("*")):
        for step in run.benchmarked(name):
            folder = ResultFolder(run.benchmark(name, step))
            summary = folder.concluded()
            if summary is not None:
                yield Evaluated(name, step, folder, summary)


def _score(found: Mapping[str, Any]) -> Score:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Score(**values)


def _read(path: Path, advice: str = _ADVICE) -> dict[str, Any]:
    found = read_json(path, advice)
    if not isinstance(found, dict) or not isinstance(found.get(RUN, {}), dict):
        raise damaged(path, "it is no table", advice)
    return found
