"""All rewards of a run, together: samples in, the reward matrix out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from rvpo.errors import ConfigError
from rvpo.imports import import_function
from rvpo.rewards.reward import Reward
from rvpo.types import Failed, Prompt, Rewards, Rollout, Sample, Score

if TYPE_CHECKING:
    from rvpo.config import RewardConfig


class RewardSuite:
    """Scores whole rollouts.

    Sync functions run one after another, then the async ones run together in one event loop.

    Args:
        rewards: at least one, with distinct names; they become the columns in this order.

    Raises:
        ConfigError: there is no reward, or two have the same name.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        names = [reward.name for reward in rewards]
        if not names:
            raise ConfigError("rewards: there is none; give at least one")
        if len(set(names)) != len(names):
            raise ConfigError(f"rewards: names must differ, got {', '.join(names)}")
        self._rewards = tuple(rewards)

    @classmethod
    def from_config(cls, rewards: Mapping[str, RewardConfig]) -> RewardSuite:
        """Import every function that the settings name.

        Raises:
            ConfigError: a path does not import, or a function does not take the arguments.
        """
        return cls(
            [
                Reward(
                    name=name,
                    function=import_function(reward.function, f"rewards.{name}.function"),
                    weight=reward.weight,
                    arguments=reward.arguments,
                )
                for name, reward in rewards.items()
            ]
        )

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raise RewardError if some reward needs a column that the prompts do not have."""
        columns = _column_names(prompts)
        for reward in self._rewards:
            reward.check_columns(columns)

    def __call__(self, rollout: Rollout) -> Rewards:
        """Score every sample with every reward.

        Returns:
            [N, M] rewards; a score that does not apply or failed is not valid, and one that
            failed has its reason in `failures`.

        Raises:
            RewardError: a function raised or broke its contract; the message names the reward
                and the prompt.
        """
        columns = self._scores(rollout.samples)
        values = [[s if isinstance(s, float) else 0.0 for s in scores] for scores in columns]
        valid = [[isinstance(s, float) for s in scores] for scores in columns]
        return Rewards(
            torch.tensor(values, dtype=torch.float32).T.contiguous(),
            [reward.name for reward in self._rewards],
            rollout.group_size,
            weights=torch.tensor([reward.weight for reward in self._rewards]),
            valid=torch.tensor(valid, dtype=torch.bool).T.contiguous(),
            failures={
                (row, column): score.reason
                for column, scores in enumerate(columns)
                for row, score in enumerate(scores)
                if isinstance(score, Failed)
            },
        )

    def _scores(self, samples: Sequence[Sample]) -> list[list[Score]]:
        """[M][N] scores; none are asked for where there are no samples."""
        if not samples:
            return [[] for _ in self._rewards]
        prompts = [sample.prompt for sample in samples]
        self.check(prompts)
        batch, ids = _arguments(samples), [prompt.id for prompt in prompts]
        scores = {r.name: r.scores(batch, ids) for r in self._rewards if not r.is_async}
        awaited = [reward for reward in self._rewards if reward.is_async]
        if awaited:
            found = asyncio.run(_together(awaited, batch, ids))
            scores |= {reward.name: s for reward, s in zip(awaited, found, strict=True)}
        return [scores[reward.name] for reward in self._rewards]


async def _together(
    rewards: Sequence[Reward], batch: Mapping[str, Any], ids: Sequence[str]
) -> list[list[Score]]:
    return await asyncio.gather(*(reward.scores_async(batch, ids) for reward in rewards))


def _arguments(samples: Sequence[Sample]) -> dict[str, Any]:
    """What TRL passes for conversational data: a list over completions under every name."""
    prompts = [sample.prompt for sample in samples]
    return {
        "prompts": [[dict(message) for message in prompt.messages] for prompt in prompts],
        "completions": [[{"role": "assistant", "content": sample.text}] for sample in samples],
        "completion_ids": [list(sample.completion_ids) for sample in samples],
        **{
            name: [prompt.columns.get(name) for prompt in prompts]
            for name in _column_names(prompts)
        },
    }


def _column_names(prompts: Sequence[Prompt]) -> list[str]:
    """The columns that any of the prompts has, in order of appearance."""
    return list(dict.fromkeys(name for prompt in prompts for name in prompt.columns))
