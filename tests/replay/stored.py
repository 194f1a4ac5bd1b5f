"""Runs that were never trained, with scores as a training would have stored them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rvpo.config.run import RunConfig, dump_config
from rvpo.report.record import StepRecord
from rvpo.report.run_folder import MetricsFile, RunFolder
from rvpo.report.sample_files import SampleFiles
from rvpo.report.score_files import ScoreFiles
from rvpo.schedule import progress_at
from rvpo.types import Rewards, Rollout, RolloutScores
from tests.configs import tiny_config
from tests.fakes import make_prompt, make_sample

GROUPS, SIZE = 4, 4
NAMES = ("vowels", "late")


def random_rewards(seed: int, missing: float = 0.0, **more: Any) -> Rewards:
    """Graded scores of two rewards, of which some may be missing."""
    chance = torch.Generator().manual_seed(seed)
    shape = (GROUPS * SIZE, len(NAMES))
    return Rewards(
        (torch.rand(shape, generator=chance) * 4).round() / 4,
        NAMES,
        SIZE,
        valid=torch.rand(shape, generator=chance) >= missing,
        prompts=[f"p{group}" for group in range(GROUPS)],
        **more,
    )


def scored(rewards: Rewards) -> RolloutScores:
    """The scores of a step with a failure for each score that is not there."""
    lost = map(tuple, (~rewards.valid).nonzero().tolist())
    return RolloutScores(
        rewards=rewards,
        aspects=rewards.columns,
        failures=dict.fromkeys(lost, "lost"),
    )


def store(
    output: Path,
    steps: Sequence[RolloutScores],
    *,
    ranks: int = 1,
    matrix: bool = True,
    **sections: Any,
) -> RunConfig:
    """A run folder of these steps, trained by the estimator of the settings.

    Args:
        ranks: those that have an equal part of the groups each.
        matrix: False for a folder as older versions left it, with samples alone.
    """
    config = tiny_config(
        Path("model"),
        output,
        steps=max(1, len(steps)),
        rollout={"prompts_per_step": GROUPS, "samples_per_prompt": SIZE},
        **sections,
    )
    folder = RunFolder.create(output, dump_config(config), {})
    for place, found in enumerate(steps):
        progress = progress_at(place, range(len(steps)))
        advantages = config.advantage(found.rewards, progress)
        count = len(found.rewards.values) // ranks
        for rank in range(ranks):
            ids = (found.rewards.prompts or ())[rank * count // SIZE : (rank + 1) * count // SIZE]
            samples = tuple(make_sample(make_prompt(id)) for id in ids for _ in range(SIZE))
            record = StepRecord(
                step=place + 1,
                rollout=Rollout(samples=samples, group_size=SIZE),
                scored=found,
                advantages=advantages,
                first_row=rank * count,
                metrics={},
            )
            SampleFiles(folder, rank)(record)
            if rank == 0:
                MetricsFile(folder)(record)
            if rank == 0 and matrix:
                ScoreFiles(folder, len(steps))(record)
    return config
