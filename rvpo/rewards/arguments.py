"""The arguments that a reward function is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rvpo.rewards.handed import handed_completion, handed_prompt
from rvpo.rewards.logged import Logbook
from rvpo.rewards.reward import Reward
from rvpo.rewards.trainer_state import TrainerState
from rvpo.runtime.deepcopy import own
from rvpo.types import Prompt, Sample


def arguments_of(
    reward: Reward, samples: Sequence[Sample], state: TrainerState, book: Logbook
) -> dict[str, Any]:
    """All arguments but those of the settings, as TRL passes them: a list over completions under
    every name, the state of training, and two functions that log. A column of the data comes before
    a length of the same name, and before the worlds of episodes.

    They are the caller's own, down to the last item of a column, but for those worlds.

    Args:
        book: takes what the function logs.
    """
    prompts = [sample.prompt for sample in samples]
    asked = {
        "thought_tokens": [sample.thought_length for sample in samples],
        "answer_tokens": [sample.answer_length for sample in samples],
        "policy_tokens": [sample.length for sample in samples],
        "episodes": [sample.episode for sample in samples],
    }
    worlds = [sample.episode and sample.episode.state for sample in samples]
    return {
        **{name: asked[name] for name in reward.asks},
        **({"environments": worlds} if in_world(samples) else {}),
        "prompts": list(map(handed_prompt, prompts)),
        "completions": [handed_completion(s, reward.sees_of(s.prompt)) for s in samples],
        "completion_ids": [list(sample.completion_ids) for sample in samples],
        **{
            name: [own(prompt.columns.get(name)) for prompt in prompts]
            for name in column_names(prompts)
        },
        "trainer_state": state,
        "log_extra": book.log_extra,
        "log_metric": book.log_metric,
    }


def in_world(samples: Sequence[Sample]) -> bool:
    """True where a world answered."""
    return any(sample.episode is not None for sample in samples)


def column_names(prompts: Sequence[Prompt]) -> list[str]:
    """The columns that any of the prompts has, in order of appearance."""
    return list(dict.fromkeys(name for prompt in prompts for name in prompt.columns))
