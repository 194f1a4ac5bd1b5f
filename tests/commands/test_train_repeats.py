"""A run whose judge flips coins on one criterion, from the command line and over a resume."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.commands.test_train import metrics, train, write_config
from tests.commands.test_train_judged import CRITERIA, PER_STEP, judged, truth
from tests.judge.server import FakeEndpoint

pytestmark = pytest.mark.slow


def test_what_is_known_of_a_judge_goes_on_with_a_resumed_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    draw = random.Random(1)

    def flips(shown: str) -> bool:
        is_coin = re.findall(r"item-\d+", shown)[-1:] == ["item-2"]
        return draw.random() < 0.5 if is_coin else truth(shown)

    with FakeEndpoint(truth=flips, keep_bodies=False) as endpoint:
        repeat = {"times": 3, "share": 1.0, "half_life": 10}
        sections = judged(endpoint, tmp_path / "cache.sqlite", repeat=repeat)
        weighing = {"name": "rvpo", "weight_by_reliability": True}
        config = write_config(tiny_model, tmp_path, **sections | {"advantage": weighing})
        output = train(config, "steps=2")
        train(config, "--resume", "steps=3")
    assert "judge.repeat: at temperature 0 many servers" in " ".join(output.split())
    rows = metrics(tmp_path / "run")
    # Nothing is known in the first step, so that nothing is shrunk, and something in the second.
    assert rows[0]["advantage/noisy_bottleneck"] == 0
    assert [row["judge/verdicts"] for row in rows] == [3 * PER_STEP] * 3
    known = {name: [r[f"judge/judged/{name}/reliability"] for r in rows] for name in CRITERIA}
    assert known["first"] == known["fault"] == [1, 1, 1]
    assert max(known["second"]) < 0.7
    scores = [row["judge/judged/second/reliability_scores"] for row in rows]
    assert scores[0] <= 8 < scores[2]  # which is all that a step has
    low, high = (rows[2][f"judge/judged/second/reliability_{end}"] for end in ("low", "high"))
    assert low < known["second"][2] < high or low == 0
