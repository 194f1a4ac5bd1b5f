"""The one interface the loop knows of generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from torch import Tensor

from rvpo.types import Prompt, Rollout, Sample

OnSample = Callable[[int, Sample], None]
"""Told of each sample when it is finished, with its row in the rollout to come."""


def ignore(row: int, sample: Sample) -> None:
    """An `OnSample` for those who wait for the whole rollout."""


class RolloutEngine(Protocol):
    """Samples completions with the newest weights it was given.

    Memory choreography, such as sleeping between rollouts, is the engine's own business.
    """

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
    ) -> Rollout:
        """Sample every prompt `samples_per_prompt` times, siblings adjacent.

        `on_sample` hears of each sample once, as soon as it is finished and in any order, while
        others are still being generated; it must return at once.

        Token ids and log-probabilities are those of sampling, never of re-tokenised text, and
        each sample carries the version of the weights that made it.

        Raises:
            DataError: a prompt leaves no room for a completion in the context.
            EngineError: no weights were loaded yet, or the engine failed.
        """
        ...

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Replace all weights, named as in a checkpoint, and forget cached prefixes."""
        ...

    def close(self) -> None:
        """Free the device and end any process started. Calling it twice does no harm."""
        ...
