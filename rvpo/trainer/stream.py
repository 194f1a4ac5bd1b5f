"""The rollouts of a run, one for each step: made when they are asked for, or one step ahead."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from rvpo.data.prompts import PromptStream
from rvpo.rewards.scoring import Scoring
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine, Weights
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.schedule import progress_at
from rvpo.types import Rollout


@dataclass(frozen=True)
class Sampler:
    """Makes the rollout of a step: this rank's prompts, and their samples on their way to judges.

    Args:
        prompts: P of each step, over all ranks.
        group_size: samples of each prompt.
        seed: the run's.
        steps: `stop` is the end of the run.
    """

    prompts: PromptStream
    engine: RolloutEngine
    score: RewardSuite
    ranks: Ranks
    group_size: int
    seed: int
    steps: range

    def sample(self, step: int) -> tuple[Rollout, Scoring]:
        """N / ranks samples, and their scores in the making.

        Raises:
            EngineError: the engine failed.
        """
        scoring = self.score.begin(progress_at(step, self.steps))
        batch = self.prompts.at(step)
        start = time.perf_counter()
        rollout = self.engine.generate(
            batch[self.ranks.share(len(batch))],
            self.group_size,
            derived_seed(self.seed, step, self.ranks.rank),
            on_sample=scoring.take,
        )
        timed = replace(rollout.generation, seconds=time.perf_counter() - start)
        return replace(rollout, generation=timed), scoring


class RolloutStream(Protocol):
    """Source of rollouts, as far as the loop knows it."""

    def take(self, step: int) -> tuple[Rollout, Scoring]:
        """The rollout of a step. Steps are taken in order, each once."""
        ...

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps."""
        ...

    def refresh(self, weights: Weights, version: int) -> None:
        """Have rollouts that begin from now on come from these weights. Every rank must call."""
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


class InTurn:
    """Generation and training take turns: every rollout comes from the newest weights."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def take(self, step: int) -> tuple[Rollout, Scoring]:
        """See `RolloutStream.take`."""
        return self._sampler.sample(step)

    def epochs(self, steps: int) -> float:
        """See `RolloutStream.epochs`."""
        return self._sampler.prompts.epochs(steps)

    def refresh(self, weights: Weights, version: int) -> None:
        """See `RolloutStream.refresh`."""
        self._sampler.engine.load_weights(weights, version)

    def close(self) -> None:
        """See `RolloutStream.close`."""


class Ahead:
    """The next rollout is generated and judged while the policy learns from this one.

    It begins when this one is taken, so its weights are one update older than those that learn
    from it. The engine must not share this process's interpreter, or both would crawl.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._thread = ThreadPoolExecutor(1, "rollout")
        self._next: Future[tuple[Rollout, Scoring]] | None = None

    def take(self, step: int) -> tuple[Rollout, Scoring]:
        """See `RolloutStream.take`."""
        coming = self._next or self._begin(step)
        taken = coming.result()
        self._next = self._begin(step + 1) if step + 1 < self._sampler.steps.stop else None
        return taken

    def epochs(self, steps: int) -> float:
        """See `RolloutStream.epochs`."""
        return self._sampler.prompts.epochs(steps)

    def refresh(self, weights: Weights, version: int) -> None:
        """See `RolloutStream.refresh`. Waits for the rollout under way, which has one version."""
        if self._next is not None:
            self._next.exception()  # which `take` raises
        self._sampler.engine.load_weights(weights, version)

    def close(self) -> None:
        """See `RolloutStream.close`. A rollout under way is left to end with its engine."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, step: int) -> Future[tuple[Rollout, Scoring]]:
        return self._thread.submit(self._sampler.sample, step)
