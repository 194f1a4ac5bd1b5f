"""Scores that are good enough of each reward, as the settings of runs say it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rvpo.advantage import Estimator
from rvpo.config.rewards import AnyRewardConfig, ClassifierRewardConfig
from rvpo.satisfied import MET_OR_NOT


def good_enough(runs: Iterable[Mapping[str, AnyRewardConfig]]) -> dict[str, float]:
    """Score from which on a reward is satisfied, of the rewards of which a run says so; NaN where
    runs say differently.

    Args:
        runs: the rewards of each.
    """
    every = [_declared(rewards) for rewards in runs]
    apart = set(_apart(every))
    said = {name: good for each in every for name, good in each.items()}
    return {name: math.nan if name in apart else good for name, good in said.items()}


def disputed(runs: Iterable[Mapping[str, AnyRewardConfig]]) -> list[str]:
    """Rewards of which runs say differently when they are satisfied."""
    return _apart([_declared(rewards) for rewards in runs])


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


def _apart(every: Sequence[Mapping[str, float]]) -> list[str]:
    """Names whose scores differ; one that is not there stands for that of a verdict."""
    names = dict.fromkeys(name for each in every for name in each)
    silent = MET_OR_NOT.good
    return [name for name in names if len({each.get(name, silent) for each in every}) > 1]


def _declared(rewards: Mapping[str, AnyRewardConfig]) -> dict[str, float]:
    return {n: r.satisfied.good for n, r in rewards.items() if r.satisfied is not None}
