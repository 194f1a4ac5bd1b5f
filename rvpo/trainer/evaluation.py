"""Scores on prompts that are never trained on, before, during and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rvpo.config.run import EvaluateConfig
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.schedule import is_due
from rvpo.types import Prompt


@dataclass(frozen=True)
class HeldOut:
    """Samples the held-out prompts when it is time, with the engine's newest weights.

    Each evaluation is kept in the run folder, and done once. The seed is always the same, so that
    two evaluations differ by the weights alone where the engine honours seeds.

    Args:
        prompts: none turns every evaluation into nothing.
        last_step: the run's; evaluated in any case, as step 0 is.
        seed: the run's.
        say: told what is going on.
    """

    prompts: Sequence[Prompt]
    engine: RolloutEngine
    score: RewardSuite
    ranks: Ranks
    folder: RunFolder
    config: EvaluateConfig
    last_step: int
    seed: int
    say: Callable[[str], None]

    def __call__(self, step: int) -> dict[str, float]:
        """Evaluate if it is time; the means over prompts, the same on every rank.

        Args:
            step: updates done.
        """
        if not self.prompts or not is_due(step, self.config.every, self.last_step):
            return {}
        path = self.folder.evaluation(step)
        if self.ranks.first(path.exists()):
            return self.at(step).metrics()
        self.say(f"scoring {len(self.prompts)} held-out prompts")
        scores = self._measure()
        self.ranks.wait()  # nobody writes before all have looked
        if self.ranks.is_main:
            write_json(path, scores.to_json())
        return scores.metrics()

    def lacks(self, step: int) -> bool:
        """True where there should be an evaluation after `step` updates, and is none. Every rank
        must call."""
        if not self.prompts or not is_due(step, self.config.every, self.last_step):
            return False
        return not self.ranks.first(self.folder.evaluation(step).exists())

    def at(self, step: int) -> HeldOutScores:
        """The scores after `step` updates."""
        return HeldOutScores.read(self.folder.evaluation(step))

    def _measure(self) -> HeldOutScores:
        mine = self.prompts[self.ranks.share(len(self.prompts))]
        scoring = self.score.begin()
        rollout = self.engine.generate(
            mine,
            self.config.samples_per_prompt,
            derived_seed(self.seed, "held out", self.ranks.rank),
            on_sample=scoring.take,
        )
        scored = scoring.collect(rollout, self.ranks)
        return HeldOutScores.of(scored, [prompt.id for prompt in self.prompts])


class Evaluation(Protocol):
    """Scores of the policy, when it is time for them."""

    def __call__(self, step: int) -> dict[str, float]:
        """Those after so many updates, on every rank; nothing where none are due."""
        ...

    def lacks(self, step: int) -> bool:
        """True where there should be some and are none. Every rank must call."""
        ...


class Evaluations:
    """Several evaluations as one: what each gives is laid together."""

    def __init__(self, *parts: Evaluation) -> None:
        self._parts = parts

    def lacks(self, step: int) -> bool:
        """See `Evaluation.lacks`."""
        return any(part.lacks(step) for part in self._parts)

    def __call__(self, step: int) -> dict[str, float]:
        """The scores of all that are due after so many updates."""
        return {name: value for part in self._parts for name, value in part(step).items()}
