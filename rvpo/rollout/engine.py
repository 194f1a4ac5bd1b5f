"""The one interface the loop knows of generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor

from rvpo.types import Prompt, Rollout


class RolloutEngine(Protocol):
    """Samples completions with the newest weights it was given.

    Memory choreography, such as sleeping between rollouts, is the engine's own business.
    """

    def generate(self, prompts: Sequence[Prompt], samples_per_prompt: int, seed: int) -> Rollout:
        """Sample every prompt `samples_per_prompt` times, siblings adjacent.

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
