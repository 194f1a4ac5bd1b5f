"""Scores that are good enough of each reward, as the settings of runs say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rvpo.advantage import Estimator
from rvpo.config.rewards import AnyRewardConfig, ClassifierRewardConfig


def good_enough(runs: Iterable[Mapping[str, AnyRewardConfig]]) -> dict[str, float]:
    """Score from which on a reward is satisfied, by the rewards of which all runs say the same.

    Args:
        runs: the rewards of each.
    """
    first, *others = [_declared(rewards) for rewards in runs]
    return {n: good for n, good in first.items() if all(each.get(n) == good for each in others)}


def disputed(runs: Iterable[Mapping[str, AnyRewardConfig]]) -> list[str]:
    """Rewards of which runs say differently when they are satisfied."""
    every = [_declared(rewards) for rewards in runs]
    names = dict.fromkeys(name for each in every for name in each)
    return [name for name in names if len({each.get(name) for each in every}) > 1]


def level_problems(advantage: Estimator, rewards: Mapping[str, AnyRewardConfig]) -> Iterator[str]:
    """Rewards that have no level, or a wrong one, where the estimator reads levels."""
    if advantage.inputs != "level":
        return
    for name, reward in rewards.items():
        if not reward.largest_weight:
            continue
        declared, where = reward.satisfied, f"rewards.{name}.satisfied"
        if isinstance(reward, ClassifierRewardConfig) and reward.is_logit and declared is None:
            yield (
                f"{where}: advantage reads levels, and a logit can be any number; say which is "
                "good enough and which counts for nothing, as in {bad: -2, good: 2}, or write "
                "score: probability"
            )
        if reward.only_if is not None and declared is not None and declared.bad < 0:
            yield (
                f"{where}: only_if gives 0 where its condition fails, which advantage reads as "
                f"better than bad: {declared.bad:g}; let bad be at least 0, or leave only_if out"
            )


def twice_declared(
    rewards: Mapping[str, AnyRewardConfig], of_answers: Mapping[str, float]
) -> Iterator[str]:
    """Problems of `evaluate.satisfied` with what the rewards themselves say."""
    for name, good in _declared(rewards).items():
        if of_answers.get(name, good) != good:
            yield (
                f"evaluate.satisfied.{name}: {of_answers[name]:g}, and rewards.{name}.satisfied "
                f"says {good:g}; leave this one out"
            )


def _declared(rewards: Mapping[str, AnyRewardConfig]) -> dict[str, float]:
    return {n: r.satisfied.good for n, r in rewards.items() if r.satisfied is not None}
