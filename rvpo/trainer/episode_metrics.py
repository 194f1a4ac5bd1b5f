"""The numbers of a step's episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, get_args

from rvpo.episode import Ending
from rvpo.types import Rollout

_MOST_REASONS: Final = 8
"""Reasons that are told of, the most frequent ones: those of code that others wrote may differ
every time."""
_LONGEST_REASON: Final = 80


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """Counts of one episode, to be sent to other ranks."""

    turns: int
    """Those of the policy."""
    world_tokens: int
    ending: Ending
    missing: str
    """Reason that it has no score, as `Episode.missing`."""
    calls: int
    failures: int
    is_rewritten: bool
    world_seconds: float


def counts_of(rollout: Rollout) -> list[EpisodeCounts]:
    """The counts of a rollout's episodes; none where a sample is one answer."""
    return [
        EpisodeCounts(
            turns=len(episode.policy_turns),
            world_tokens=len(sample.completion_ids) - sample.length,
            ending=episode.ending,
            missing=episode.missing,
            calls=episode.calls,
            failures=len(episode.failures),
            is_rewritten=bool(episode.rewritten),
            world_seconds=episode.world_seconds,
        )
        for sample in rollout.samples
        if (episode := sample.episode) is not None
    ]


def episode_metrics(every: Sequence[EpisodeCounts]) -> dict[str, float]:
    """Turns, endings, and calls of tools, these under TRL's names; nothing without episodes.

    Args:
        every: those of all ranks.
    """
    if not every:
        return {}
    calls = sum(each.calls for each in every)
    failures = sum(each.failures for each in every)
    ended = Counter(each.ending for each in every)
    return {
        "episodes/turns_mean": fmean(each.turns for each in every),
        "episodes/turns_max": max(each.turns for each in every),
        "episodes/world_mean_length": fmean(each.world_tokens for each in every),
        **{f"episodes/ended/{ending}": ended[ending] / len(every) for ending in get_args(Ending)},
        **_missing(each.missing for each in every),
        "episodes/world_seconds_mean": fmean(each.world_seconds for each in every),
        "episodes/world_seconds_max": max(each.world_seconds for each in every),
        "episodes/rewritten_frac": fmean(each.is_rewritten for each in every),
        "tools/call_frequency": calls / len(every),
        "tools/failure_frequency": failures / calls if calls else 0.0,
    }


def _missing(reasons: Iterable[str]) -> dict[str, float]:
    """Counts of episodes without a score, by the beginning of the reason."""
    found = Counter(_short(reason) for reason in reasons if reason)
    return {
        f"episodes/missing/{reason}": float(count)
        for reason, count in found.most_common(_MOST_REASONS)
    }


def _short(reason: str) -> str:
    """The ending and the kind of its reason, such as the name of an error, in one line without the
    slashes that divide the names of metrics."""
    kind = ": ".join(reason.split(": ")[:2])
    return " ".join(kind.replace("/", " ").split())[:_LONGEST_REASON]
