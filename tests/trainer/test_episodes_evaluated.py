"""Held-out episodes without a score: missing, and told with the reason, whatever rank had them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.held_out import EvaluateConfig
from rvpo.errors import RewardError
from rvpo.report.at_k import AtK
from rvpo.report.run_folder import RunFolder
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.evaluation import HeldOut
from rvpo.types import Prompt, Rollout, Sample
from tests.fakes import FakeEngine, make_episode, make_prompt, on_each_rank
from tests.trainer.test_early_stop import stop_of

PROMPTS = [make_prompt(f"p/{n}") for n in range(4)]


def correct(completions: Sequence[Any], **columns: Any) -> list[float]:
    return [1.0] * len(completions)


class Worlds(FakeEngine):
    """Its episodes of some prompts are broken, or the first of each."""

    def __init__(self, broken: Sequence[str]) -> None:
        super().__init__(lambda prompt: "")
        self._broken = broken

    def generate(
        self, prompts: Sequence[Prompt], samples_per_prompt: int, *args: Any, **more: Any
    ) -> Rollout:
        places = ["first", *["later"] * (samples_per_prompt - 1)]
        samples = [self._sample(each, place) for each in prompts for place in places]
        return Rollout(samples=tuple(samples), group_size=samples_per_prompt)

    def _sample(self, prompt: Prompt, place: str) -> Sample:
        if not {prompt.id, f"{prompt.id} {place}"} & {*self._broken}:
            return make_episode("ab", prompt=prompt)
        return make_episode("ab", prompt=prompt, ending="world_broken", reason="it is gone")


def evaluated(
    folder: Path, broken: Sequence[str], ranks: Ranks, said: list[str]
) -> tuple[dict[str, float], dict[str, str]]:
    held_out = HeldOut(
        PROMPTS,
        Worlds(broken),
        RewardSuite([Reward("correct", correct)], episodes_lost=0.5),
        ranks,
        RunFolder(folder),
        EvaluateConfig(samples_per_prompt=2, at_k=(1, 2)),
        last_step=6,
        seed=0,
        say=print,
        tell=said.append if ranks.is_main else print,
        at_k=AtK(at=(1, 2), joint=("correct",)),
    )
    found = held_out(0)
    return found, held_out.lost(0)


def test_worlds_that_fail_on_one_rank_are_told_and_none_of_their_scores_is_a_zero(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    RunFolder(tmp_path).evaluations.mkdir(parents=True)
    both = on_each_rank(lambda ranks: evaluated(tmp_path, ["p/2", "p/3"], ranks, said))
    names = ["rewards/correct/mean", "pass@1/correct", "maj@1/correct", "all_satisfied@1"]
    names += ["pass@2/correct", "maj@2/correct", "all_satisfied@2"]
    assert both == [({f"eval/{name}": 1.0 for name in names}, {})] * 2
    assert said == [
        "4 of 8 held-out episodes have no score, most often for world_broken: it is gone"
    ]
    (file,) = RunFolder(tmp_path).evaluations.iterdir()
    assert json.loads(file.read_text())["means"] == [[1.0], [1.0], [None], [None]]


def test_a_world_that_fails_every_held_out_episode_ends_the_run_before_training(
    tmp_path: Path,
) -> None:
    RunFolder(tmp_path).evaluations.mkdir(parents=True)
    every = [prompt.id for prompt in PROMPTS]
    both = on_each_rank(lambda ranks: evaluated(tmp_path, every, ranks, []))
    for error in both:
        assert isinstance(error, RewardError)
        assert str(error) == (
            "environment: 8 of 8 episodes have no score (8 world_broken: it is gone), more than "
            "environment.budget=0.5 allows; nothing was trained on them. Mend the environment, "
            "then continue with --resume"
        )
    assert not list(RunFolder(tmp_path).evaluations.iterdir())  # --resume asks again


def test_a_rule_on_what_too_few_episodes_have_is_refused_before_training(tmp_path: Path) -> None:
    """Two samples of no prompt have a score, and every prompt has one."""
    RunFolder(tmp_path).evaluations.mkdir(parents=True)
    broken = [f"{prompt.id} first" for prompt in PROMPTS]
    (result,) = on_each_rank(lambda ranks: evaluated(tmp_path, broken, ranks, []), size=1)
    assert isinstance(result, tuple)
    found, lost = result
    assert found == {
        f"eval/{name}": 1.0
        for name in ("rewards/correct/mean", "pass@1/correct", "maj@1/correct", "all_satisfied@1")
    }
    rule = stop_of({}, [], goal=0.5)
    with pytest.raises(RewardError, match="because too many scores below it are missing; mend"):
        rule.check(found, lost)
