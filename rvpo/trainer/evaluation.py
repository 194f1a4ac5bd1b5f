"""Scores on prompts that are never trained on."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.report.held_out import HeldOutScores
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.seed import derived_seed
from rvpo.types import Prompt


def evaluate(
    prompts: Sequence[Prompt],
    engine: RolloutEngine,
    score: RewardSuite,
    ranks: Ranks,
    *,
    samples_per_prompt: int,
    seed: int,
) -> HeldOutScores:
    """Sample each prompt with the engine's newest weights and average its scores.

    The seed is the same at every call, so that two evaluations differ by the weights alone
    where the engine honours seeds.
    """
    mine = prompts[ranks.share(len(prompts))]
    scoring = score.begin()
    rollout = engine.generate(
        mine,
        samples_per_prompt,
        derived_seed(seed, "held out", ranks.rank),
        on_sample=scoring.take,
    )
    rewards = scoring.collect(rollout, ranks)
    return HeldOutScores.of(rewards, [prompt.id for prompt in prompts])
