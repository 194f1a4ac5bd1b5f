"""A trial shows the judge the part of a completion that each rubric is about, as a run does."""

from __future__ import annotations

import json
from pathlib import Path

from rvpo.config.data import DataConfig
from rvpo.criterion import Criterion
from rvpo.rewards.rubric import RubricReward
from rvpo.thinking import Sees
from rvpo.trial.given import read_responses
from rvpo.trial.trial import Trial
from tests.fakes import FakeJudge, says

COMPLETIONS = {"<mull>rest</mull>Sleep.": (0.0, 1.0), "Take a rest.": (1.0, 1.0), "<mull>": (0, 0)}


def rubric(name: str, sees: Sees) -> RubricReward:
    fixed = {"rest": Criterion(text="rest")}
    return RubricReward(name=name, form="channels", fixed=fixed, sees=sees)


def test_each_rubric_of_a_trial_is_shown_its_part(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    lines = (json.dumps({"prompt": "Ill?", "completion": each}) for each in COMPLETIONS)
    file.write_text("\n".join(lines))
    rewards = (rubric("answers", "answer"), rubric("all", "everything"))
    data = DataConfig.model_validate({"train": {"function": "tests.toy:letters"}})
    responses = read_responses(file, rewards, data, ("<mull>", "</mull>"))
    judge = FakeJudge(says)
    trial = Trial(rewards=rewards, responses=responses, repeats=2)
    found = list(trial.judged_by({rewards[0].judge: judge}))
    scores = [(each.scores["answers"], each.scores["all"]) for each in found]
    assert scores == list(COMPLETIONS.values())
    assert trial.verdicts == len(COMPLETIONS) * 2 * 2
    assert len(judge.jobs) == len(COMPLETIONS) * 2 * 2
