"""Rewards of what happened in an episode: its outcome, its turns, and its calls of tools.

They need `environment`, and have TRL's signature. An episode that ended by a fault of a tool or of
the world is shown to none of them: its scores are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rvpo.episode import Episode
from rvpo.rewards.completion import Completion, bounded, text_of
from rvpo.rewards.final_answer import final_answer


@bounded(0.0, 1.0)
def solved_by_call(
    completions: Sequence[Completion],
    answer: Sequence[Any],
    episodes: Sequence[Episode],
    **columns: Any,
) -> list[float]:
    """1 where the policy's last turn calls nothing and says the right answer, and a call of a tool
    went well before it; else 0.

    Args:
        completions: the episodes.
        answer: the right answer of each, of which `rvpo.rewards.final_answer` reads what it says.
        episodes: the same with their calls.
    """
    return [
        float(
            _calls_well(episode) > 0
            and not _calls_last(episode)
            and _says(text_of(completion), right)
        )
        for completion, right, episode in zip(completions, answer, episodes, strict=True)
    ]


@bounded(0.0, 1.0)
def few_turns(
    episodes: Sequence[Episode], most: int, least: int = 1, **columns: Any
) -> list[float]:
    """1 up to `least` turns of the policy, from there in a line to 0 at `most`, and 0 beyond.

    `only_if: {reward: solved, at_least: 1}` keeps it to episodes that reach something.

    Args:
        episodes: their turns count.
        most: usually `environment.max_turns`.
        least: turns that the task takes at least.

    Raises:
        ValueError: the numbers are not in order.
    """
    if not 1 <= least < most:
        raise ValueError(f"least must be from 1 to below most={most}, got {least}")
    turns = [len(episode.policy_turns) for episode in episodes]
    return [min(1.0, max(0.0, (most - count) / (most - least))) for count in turns]


@bounded(0.0, 1.0)
def no_failed_calls(episodes: Sequence[Episode], **columns: Any) -> list[float | None]:
    """Share of an episode's calls of tools that went well; not applicable where it has none."""
    return [_calls_well(each) / each.calls if each.calls else None for each in episodes]


def _calls_well(episode: Episode) -> int:
    return episode.calls - len(episode.failures)


def _calls_last(episode: Episode) -> bool:
    """True where the last turn calls a tool, such as that of an episode out of turns."""
    return any(message.get("tool_calls") for message in episode.turns[-1].messages)


def _says(text: str, right: Any) -> bool:
    said = final_answer(text)
    return said is not None and said == final_answer(str(right))
