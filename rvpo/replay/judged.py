"""Scores of stored samples that were judged again, in place of those that trained."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rvpo.config.run import RunConfig
from rvpo.errors import CheckpointError, ConfigError, nearest
from rvpo.lazy import torch
from rvpo.replay.columns import reward_of
from rvpo.replay.stored_run import StoredRun
from rvpo.report.sample_files import sample_files, samples_of
from rvpo.report.score_files import StepScores
from rvpo.report.stored import Number, Stored, Text, checked, damaged
from rvpo.schedule import value_at
from rvpo.types import Rewards

Answered = tuple[str, str]
"""Id of a prompt, and an answer to it."""


class JudgedCell(Stored):
    """One score of a sample, and the share of its criterion in the reward."""

    score: Number | None
    share: Number


class _Line(Stored):
    prompt_id: Text
    completion: Text
    cells: dict[Text, JudgedCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAgain:
    """Scores that `rvpo judge --json` wrote of stored samples."""

    path: Path
    cells: Mapping[Answered, Mapping[str, JudgedCell]]
    """Scores by column, of each answer."""
    columns: tuple[str, ...]
    """Names of the columns, in the order of the file."""

    @classmethod
    def read(cls, path: Path, config: RunConfig) -> Self:
        """The scores of a file.

        Raises:
            ConfigError: it holds none, or scores of what is no reward of the run, or of one that
                depends on another reward, which is not known there.
            CheckpointError: it is damaged, or cannot be read.
        """
        found = {
            (line.prompt_id, line.completion): line.cells
            for line in _lines(path)
            if line.cells  # none where a prompt has no criteria
        }
        columns = tuple(dict.fromkeys(name for cells in found.values() for name in cells))
        if not columns:
            raise ConfigError(
                f"--judged {path}: holds no scores; give what `rvpo judge --samples FILE --json "
                "FILE` wrote"
            )
        for name in dict.fromkeys(map(reward_of, columns)):
            if name not in config.rewards:
                guess = nearest(name, list(config.rewards))
                known = f"did you mean {guess}?" if guess else f"it has {', '.join(config.rewards)}"
                raise ConfigError(
                    f"--judged {path}: '{name}' is no reward of the run; {known} Name it so in the "
                    "settings that judge"
                )
            if config.rewards[name].only_if is not None:
                raise ConfigError(
                    f"--judged {path}: reward '{name}' depends on another one (only_if), which the "
                    "file does not know; judge a reward that does not"
                )
        return cls(path=path, cells=found, columns=columns)

    def each(self, run: StoredRun, steps: Sequence[int]) -> Iterator[StepScores]:
        """Steps all of whose samples were judged, with the new scores in place of those that
        trained; the others are left out.

        Raises:
            CheckpointError: a file of the run is damaged.
        """
        there = set(sample_files(run.folder).values())
        for step in steps:
            rows = samples_of(run.folder, step) if step in there else []
            keys = [(row["prompt_id"], row.get("answer", row["completion"])) for row in rows]
            if keys and all(key in self.cells for key in keys):
                cells = [self.cells[key] for key in keys]
                yield self._replaced(run.read(step), cells, run.config)

    def _replaced(
        self, scores: StepScores, cells: Sequence[Mapping[str, JudgedCell]], config: RunConfig
    ) -> StepScores:
        rewards, names = scores.rewards, self.columns
        judged = dict.fromkeys(map(reward_of, names))
        kept = [c for c, name in enumerate(rewards.names) if reward_of(name) not in judged]
        weight = {n: value_at(config.rewards[n].weight, scores.progress) for n in judged}
        none = JudgedCell(score=None, share=0.0)
        rows = [[row.get(name, none) for name in names] for row in cells]
        own = [reward_of(name) for name in names]
        found = Rewards(
            torch.cat(
                [
                    rewards.values[:, kept],
                    torch.tensor([[c.score or 0.0 for c in r] for r in rows]),
                ],
                dim=1,
            ),
            [*(rewards.names[c] for c in kept), *names],
            rewards.group_size,
            weights=torch.cat(
                [
                    rewards.weights[:, kept],
                    torch.tensor(
                        [[weight[n] * c.share for n, c in zip(own, r, strict=True)] for r in rows]
                    ),
                ],
                dim=1,
            ),
            valid=torch.cat(
                [
                    rewards.valid[:, kept],
                    torch.tensor([[c.score is not None for c in r] for r in rows]),
                ],
                dim=1,
            ),
            prompts=rewards.prompts,
            satisfied=[
                *(rewards.satisfied[c] for c in kept),
                *(config.rewards[name].satisfied for name in own),
            ],
        )
        return replace(scores, rewards=found, aspects=_aspects(scores, kept, own))


def _aspects(scores: StepScores, kept: Sequence[int], own: Sequence[str]) -> dict[str, Any]:
    """[N, M] bool by name: what is kept of the step's, and each reward that was judged."""
    samples, judged = len(scores.rewards.values), dict.fromkeys(own)
    none = torch.zeros(samples, len(own), dtype=torch.bool)
    found = {
        name: torch.cat([mask[:, kept], none], dim=1)
        for name, mask in scores.aspects.items()
        if reward_of(name) not in judged
    }
    before = torch.zeros(samples, len(kept), dtype=torch.bool)
    for name in judged:
        mask = torch.tensor([each == name for each in own]).expand(samples, len(own))
        found[name] = torch.cat([before, mask], dim=1)
    return found


def _lines(path: Path) -> Iterator[_Line]:
    """Lines of responses, those of the summary left out.

    Raises:
        CheckpointError: the file cannot be read, or is not what was written.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = [json.loads(line) for line in io.StringIO(text, newline="\n") if line.strip()]
    except OSError as error:
        raise CheckpointError(f"--judged: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, "; give what `rvpo judge --json` wrote") from error
    for value in values:
        # Of another judge's answers (--against), each line has its name.
        if isinstance(value, dict) and "cells" in value and "judge" not in value:
            yield checked(_Line, value, path, "; give what `rvpo judge --json` wrote")
