"""Seconds in which a long run's scores are read and replayed by several estimators.

    python -m performance.replay

The run is made up: 300 steps of 96 prompts with 16 samples each, 17 rewards, verdicts and grades.
Its scores are written as a training writes them (rvpo/report/score_files.py). Beside them one step
is written as samples with answers of 2 kB, to see what reading those instead would take. With
--save the table is also written to performance/results/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from performance.published import add_save_option, publish
from rvpo.advantage import GDPO, GRPO, RVPO, LevelMin
from rvpo.replay.advice import advise
from rvpo.replay.measured import measured
from rvpo.replay.replayed import replay
from rvpo.report.record import StepRecord
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import SampleFiles, samples_of
from rvpo.report.score_files import ScoreFiles, read_scores, score_file
from rvpo.types import Prompt, Rewards, Rollout, RolloutScores, Sample

PROMPTS, SIZE, REWARDS = 96, 16, 17
ANSWER = "An answer of some two thousand characters. " * 48
T = TypeVar("T")


def record(step: int, steps: int) -> StepRecord:
    """A step of verdicts, of which the last five rewards are grades."""
    chance = torch.Generator().manual_seed(step)
    values = torch.rand((PROMPTS * SIZE, REWARDS), generator=chance)
    values[:, :-5] = (values[:, :-5] < torch.linspace(0.05, 0.95, REWARDS - 5)).float()
    rewards = Rewards(
        values,
        [f"reward_{place}" for place in range(REWARDS)],
        SIZE,
        prompts=[f"prompt/{step}/{place}" for place in range(PROMPTS)],
    )
    samples = tuple(
        Sample(
            prompt=Prompt(id=f"{place}", messages=({"role": "user", "content": "Why?"},)),
            prompt_ids=(1,),
            completion_ids=(1,),
            logprobs=(0.0,),
            text=ANSWER,
            finish_reason="stop",
            policy_version=0,
        )
        for place in range(PROMPTS)
        for _ in range(SIZE)
    )
    return StepRecord(
        step=step,
        rollout=Rollout(samples=samples, group_size=SIZE),
        scored=RolloutScores(rewards=rewards, aspects=rewards.columns),
        advantages=RVPO()(rewards, (step - 1) / max(1, steps - 1)),
        first_row=0,
        metrics={},
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a core worked, whoever else is on the machine, and what came of it."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = range(1, options.steps + 1)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        writing = 0.0
        for step in steps:
            made = record(step, options.steps)
            writing += timed(lambda made=made: ScoreFiles(folder, options.steps)(made))[0]  # type: ignore[misc]
        SampleFiles(folder, 0)(record(1, options.steps))
        size = sum(score_file(folder, step).stat().st_size for step in steps)
        reading, _ = timed(lambda: [read_scores(folder, step) for step in steps])
        sampled, _ = timed(lambda: samples_of(folder, 1))
        lines = [
            f"{options.steps} steps of {PROMPTS} x {SIZE} samples with {REWARDS} rewards, one core",
            "",
            "| | |",
            "| --- | ---: |",
            f"| bytes of scores, a step | {size / len(steps):,.0f} |",
            f"| writing the scores of a step, ms | {1e3 * writing / len(steps):.1f} |",
            f"| reading all scores, s | {reading:.1f} |",
            f"| reading the samples of one step, s | {sampled:.2f} |",
        ]
        others = {"grpo": GRPO(), "gdpo": GDPO(), "level_min": LevelMin()}
        for count in (0, 1, 3):
            chosen = dict(list(others.items())[:count])
            seconds, found = timed(
                lambda chosen=chosen: replay(  # type: ignore[misc]
                    (read_scores(folder, step) for step in steps), ("rvpo", RVPO()), chosen
                )
            )
            assert found.own.difference == 0.0
            lines.append(
                f"| replay by the run's own estimator and {count} more, s | {seconds:.1f} |"
            )
        first = [read_scores(folder, step) for step in steps[:10]]
        seconds, _ = timed(lambda: advise(measured(first)))
        lines.append(f"| advice from ten steps, s | {seconds:.2f} |")
    publish("replay.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
