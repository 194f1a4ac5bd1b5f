"""Sums of what a run writes beside its checkpoints, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rvpo import GDPO, Rewards
from rvpo.config.run import RunConfig
from rvpo.plan.disk import sample_bytes, score_bytes, verdict_bytes
from rvpo.plan.judging import Load
from rvpo.report.run_folder import RunFolder
from rvpo.report.score_files import StepScores, score_file, write_scores
from tests.configs import tiny_config

ASKED = {"judge": Load(calls=17.0, input_tokens=500.0, output_tokens=60.0)}


def planned(repeat: int | None = None, **samples: Any) -> RunConfig:
    """96 prompts x 16 samples of up to 1,500 tokens, 17 criteria each, 300 steps, 8 ranks."""
    return tiny_config(
        Path("model"),
        Path("run"),
        steps=300,
        rollout={"prompts_per_step": 96, "samples_per_prompt": 16, "max_completion_tokens": 3000},
        distributed={"processes": 8},
        rewards={"criteria": {"rubric": "channels"}},
        judge={"model": "m", "endpoints": [{"url": "http://localhost:1/v1"}], "repeat": repeat},
        report={"trackers": [], "samples": samples},
    )


def test_samples_are_counted_as_they_were_measured() -> None:
    """27.1 MB a step of 6 kB completions and 300-character remarks, 8.1 GB a run."""
    plain = sample_bytes(planned(gzip_mb=1000), 100, ASKED)
    rewards = len(planned().rewards) + 17
    assert plain == pytest.approx(300 * 1536 * (500 + 4 * 3100 + rewards * 70 + 17 * 400))
    assert 7e9 < plain < 12e9
    assert sample_bytes(planned(), 100, ASKED) == pytest.approx(0.3 * plain)
    few = sample_bytes(planned(gzip_mb=1000, keep=20), 100, ASKED)
    assert few == pytest.approx(plain * 21 / 300)
    some = sample_bytes(planned(gzip_mb=1000, keep=20, every=50), 100, ASKED)
    assert some == pytest.approx(plain * (21 + 5) / 300)


def test_every_verdict_may_be_a_new_one() -> None:
    assert verdict_bytes(planned(), ASKED) == 440 * 17 * 1536 * 300
    assert verdict_bytes(planned(), {}) == 0


@pytest.mark.parametrize("is_graded", [True, False])
def test_matrices_of_scores_take_no_more_than_is_counted(is_graded: bool, tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(0)
    drawn = torch.rand(1536, 17, generator=chance)
    prompts = [f"some/rows/{group:06d}" for group in range(96)]
    values = drawn if is_graded else (drawn < 0.5).float()
    rewards = Rewards(values, [f"criteria/{m}" for m in range(17)], 16, prompts=prompts)
    advantages = GDPO()(rewards)
    write_scores(
        RunFolder(tmp_path),
        StepScores(
            step=1,
            progress=0.0,
            rewards=rewards,
            aspects=rewards.columns,
            advantages=advantages.values,
            trained=advantages.trained,
        ),
    )
    size = score_file(RunFolder(tmp_path), 1).stat().st_size
    counted = score_bytes(planned(), ASKED) / 300
    assert size < counted
    assert not is_graded or counted < 1.5 * size


def test_reliability_is_counted_where_a_judge_is_asked_again() -> None:
    rewards = len(planned().rewards) + 17
    assert score_bytes(planned(), ASKED) == 300 * (1500 + 4 * (rewards + 1) * 1536)
    again = score_bytes(planned(repeat=2), ASKED)
    assert again == 300 * (1500 + 4 * (2 * rewards + 1) * 1536)
