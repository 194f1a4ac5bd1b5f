"""An engine that others use too."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.rollout.engine import OnSample, RolloutEngine, Weights
from rvpo.rollout.further import Further
from rvpo.runtime.ignore import ignore
from rvpo.runtime.turns import Turns
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Rollout


class EngineInTurn:
    """An engine, each call of which waits for its turn.

    Args:
        turns: those of all who use the engine.
    """

    def __init__(self, engine: RolloutEngine, turns: Turns) -> None:
        self._engine = engine
        self._turns = turns

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """See `RolloutEngine.generate`."""
        with self._turns.turn():
            return self._engine.generate(
                prompts, samples_per_prompt, seed, on_sample, sampling, further
            )

    def load_weights(self, weights: Weights, version: int) -> None:
        """See `RolloutEngine.load_weights`."""
        with self._turns.turn():
            self._engine.load_weights(weights, version)

    def close(self) -> None:
        """See `RolloutEngine.close`. It waits for nobody."""
        self._engine.close()
