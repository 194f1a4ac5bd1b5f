"""The numbers of a step, under TRL's names where they exist."""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.rewards.criteria import criteria_metrics
from rvpo.rewards.metrics import reward_metrics
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.episode_metrics import counts_of, episode_metrics
from rvpo.trainer.throughput import generation_metrics
from rvpo.types import Advantages, Rollout, RolloutScores, Sample


def step_metrics(
    step: int, rollout: Rollout, scored: RolloutScores, advantages: Advantages, ranks: Ranks
) -> dict[str, float]:
    """Rewards, advantages and completions of all ranks, in step `step` = 0, 1, …"""
    told = (
        reward_metrics(scored)
        | dict(scored.metrics)
        | metrics_by_aspect(scored.rewards, advantages, scored.aspects)
    )
    return told | criteria_metrics(scored, told) | completion_metrics(step, rollout, ranks)


class _Age(NamedTuple):
    """Updates that the weights which made a sample were behind, of its tokens."""

    mean: float
    largest: int
    is_mixed: bool


def _age(step: int, sample: Sample) -> _Age:
    mean = step - (fmean(sample.policy_versions) if sample.versions else sample.policy_version)
    return _Age(mean, step - sample.policy_version, bool(sample.versions))


def completion_metrics(step: int, rollout: Rollout, ranks: Ranks) -> dict[str, float]:
    """Lengths in tokens of what is the policy's, how many were cut off, how old the weights were
    that made them, and how fast that was; and the numbers of episodes."""
    mine = [
        (sample.length, sample.finish_reason == "length", _age(step, sample))
        for sample in rollout.samples
    ]
    parts = ranks.gather_objects((mine, rollout.generation, counts_of(rollout)))
    rows = [row for part, _, _ in parts for row in part]
    lengths = [length for length, _, _ in rows]
    terminated = [length for length, cut, _ in rows if not cut]
    ages = [age for _, _, age in rows]
    mixed = sum(age.is_mixed for age in ages)
    metrics = {
        "completions/mean_length": fmean(lengths),
        "completions/min_length": min(lengths),
        "completions/max_length": max(lengths),
        "completions/clipped_ratio": 1 - len(terminated) / len(rows),
        "policy/version": step,
        "policy/staleness_mean": fmean(age.mean for age in ages),
        "policy/staleness_max": max(age.largest for age in ages),
    }
    if mixed:
        metrics["policy/mixed_frac"] = mixed / len(rows)
    if terminated:
        metrics |= {
            "completions/mean_terminated_length": fmean(terminated),
            "completions/min_terminated_length": min(terminated),
            "completions/max_terminated_length": max(terminated),
        }
    return (
        metrics
        | _thought_metrics(rollout, ranks)
        | generation_metrics([made for _, made, _ in parts], sum(lengths))
        | episode_metrics([each for *_, episodes in parts for each in episodes])
    )


def _thought_metrics(rollout: Rollout, ranks: Ranks) -> dict[str, float]:
    """Lengths of thoughts and answers, where a sample of any rank has a thought; and of samples
    whose thoughts were ended, where any was."""
    mine = [(s.thought_length, s.answer_length, s.is_thought_ended) for s in rollout.samples]
    rows = [row for part in ranks.gather_objects(mine) for row in part]
    thoughts, answers, ended = (list(each) for each in zip(*rows, strict=True))
    if not any(thoughts):
        return {}
    metrics = {
        "completions/thought_mean_length": fmean(thoughts),
        "completions/answer_mean_length": fmean(answers),
        "completions/unanswered_ratio": fmean(length == 0 for length in answers),
    }
    return metrics | ({"completions/thought_ended_ratio": fmean(ended)} if any(ended) else {})
