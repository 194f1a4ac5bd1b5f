"""Scores on prompts that are never trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rvpo.report.held_out import HeldOutScores
from rvpo.rollout.engine import RolloutEngine
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.seed import derived_seed
from rvpo.types import Prompt, Rewards, Rollout


def evaluate(
    prompts: Sequence[Prompt],
    engine: RolloutEngine,
    score: Callable[[Rollout], Rewards],
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
    rollout = engine.generate(mine, samples_per_prompt, derived_seed(seed, "held out", ranks.rank))
    rewards = ranks.gather(score(rollout))
    return HeldOutScores.of(rewards, [prompt.id for prompt in prompts])
