"""The record of a training step, handed to any number of reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any, Protocol

from rvpo.report.episode_row import episode_row, json_of
from rvpo.types import Advantages, Rollout, RolloutScores, Sample

PHASES = ("generate", "score", "update", "sync")
"""The parts of a step that are timed, as `timing/{phase}` in seconds, in their order."""
STEP_TIME = "timing/step"
"""Seconds of a whole step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepRecord:
    """Everything one step did, as one rank sees it."""

    step: int
    """Optimizer updates done, so the first record is step 1."""
    rollout: Rollout
    """This rank's samples."""
    scored: RolloutScores  # of all ranks' samples
    advantages: Advantages  # of all ranks' samples
    first_row: int
    """The row of this rank's first sample in `scored` and `advantages`."""
    metrics: Mapping[str, float]
    """All numbers of the step by name, timing included."""


class Report(Protocol):
    """A reader of steps."""

    def __call__(self, record: StepRecord) -> None:
        """Take in a finished step."""

    def close(self) -> None:
        """Finish what is open; no step follows."""


class Reports:
    """Several reports as one, told in the order given."""

    def __init__(self, *reports: Report) -> None:
        self._reports = reports

    def __call__(self, record: StepRecord) -> None:
        for report in self._reports:
            report(record)

    def close(self) -> None:
        """Close every report, the first one first, even where one of them fails."""
        with ExitStack() as stack:
            for report in reversed(self._reports):
                stack.callback(report.close)


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that have a value: JSON knows no NaN, and a curve no infinity."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def sample_rows(record: StepRecord) -> Iterator[dict[str, Any]]:
    """One JSON-ready row for each of this rank's samples, in rollout order.

    `scores` and `z` hold null for a score that does not exist; where it was lost rather than
    not applicable, `failures` has the reason under the reward's name. `remarks` has what judges
    said, likewise: of a criterion with its polarity, class, axis and share of the reward's weight,
    of a mean over criteria with each of them. `extras` has what reward functions logged of it, by
    reward and column. `versions` has the runs of tokens of a sample that
    went on under new weights; without any, all tokens are of `policy_version`. Where a
    world answered, `completion`, `thought` and `answer` are of the policy's last turn,
    `completion_tokens` of all its turns, and `episode` has every turn with its messages, places and
    tokens that were given, and how it ended.
    """
    scored, advantages, first = record.scored, record.advantages, record.first_row
    rewards = scored.rewards
    rows = slice(first, first + len(record.rollout.samples))
    valid = rewards.valid[rows].tolist()
    values, z = rewards.values[rows].tolist(), advantages.z[rows].tolist()
    advantage, trained = advantages.values[rows].tolist(), advantages.trained[rows].tolist()
    for i, sample in enumerate(record.rollout.samples):
        present = dict(zip(rewards.names, valid[i], strict=True))
        score, channel_z = (
            {name: x if present[name] else None for name, x in zip(rewards.names, row, strict=True)}
            for row in (values[i], z[i])
        )
        yield {
            "step": record.step,
            "prompt_id": sample.prompt.id,
            "prompt": _messages(sample),
            "completion": sample.text,
            "thought": sample.thought,
            "answer": sample.answer,
            "completion_tokens": sample.length,
            "finish_reason": sample.finish_reason,
            "policy_version": sample.policy_version,
            "versions": _spans(sample.versions),
            "scores": score,
            "failures": {
                name: scored.failures[first + i, j]
                for j, name in enumerate(rewards.names)
                if (first + i, j) in scored.failures
            },
            "remarks": {
                name: asdict(scored.remarks[first + i, j])
                for j, name in enumerate(rewards.names)
                if (first + i, j) in scored.remarks
            },
            "extras": {
                name: {column: values[i] for column, values in columns.items()}
                for name, columns in scored.extras.items()
            },
            "z": channel_z,
            "advantage": advantage[i],
            "trained": trained[i],
            **_episode(sample),
        }


def _messages(sample: Sample) -> list[dict[str, Any]]:
    """The prompt; a world may have put messages of its own there."""
    messages = sample.prompt.messages
    return [dict(each) if sample.episode is None else json_of(each) for each in messages]


def _episode(sample: Sample) -> dict[str, Any]:
    if sample.episode is None:
        return {}
    return {"episode": episode_row(sample.episode, sample.given)}


def _spans(versions: Sequence[int]) -> list[dict[str, int]]:
    """Runs of tokens `[start, end)` of one version."""
    runs = [(version, len(list(run))) for version, run in groupby(versions)]
    bounds = pairwise(accumulate((size for _, size in runs), initial=0))
    return [
        {"version": version, "start": start, "end": end}
        for (version, _), (start, end) in zip(runs, bounds, strict=True)
    ]


def timing(metrics: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each phase that `metrics` times, in order, and last of the whole `step`."""
    keys = {phase: f"timing/{phase}" for phase in PHASES} | {"step": STEP_TIME}
    return {name: metrics[key] for name, key in keys.items() if key in metrics}


def summarise_timing(history: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds spent in each phase, and in whole steps, over all steps of a run.

    Args:
        history: the metrics of each step, as `metrics.jsonl` holds them.
    """
    totals: dict[str, float] = {}
    for metrics in history:
        for name, seconds in timing(metrics).items():
            totals[name] = totals.get(name, 0.0) + seconds
    return totals
