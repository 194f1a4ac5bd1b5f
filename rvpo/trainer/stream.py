"""The rollouts of a run, one for each step: made when they are asked for, or some steps ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import Protocol

from rvpo.data.order import PromptOrder
from rvpo.rewards.scoring import Scoring
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine, Weights
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.runtime.turns import Turns
from rvpo.schedule import progress_at
from rvpo.types import Prompt, Rollout


@dataclass(frozen=True)
class Sampler:
    """Makes the rollout of a step: this rank's prompts, and their samples on their way to judges.

    Args:
        prompts: those of each step, over all ranks.
        group_size: samples of each prompt.
        seed: the run's.
        steps: `stop` is the end of the run.
    """

    prompts: PromptOrder
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
        batch = self.prompts.at(step)
        return self._sampled(step, batch[self.ranks.share(len(batch))], spared_at=step)

    def instead(self, step: int, turn: int, counts: Sequence[int]) -> tuple[Rollout, Scoring]:
        """Samples of other prompts for a step. Settled criteria are asked of all of them.

        Args:
            turn: see `PromptOrder.instead`.
            counts: groups of each rank.

        Raises:
            EngineError: the engine failed.
        """
        first = sum(counts[: self.ranks.rank])
        batch = self.prompts.instead(step, turn, sum(counts))
        mine = batch[first : first + counts[self.ranks.rank]]
        return self._sampled(step, mine, "instead", turn)

    def _sampled(
        self, step: int, prompts: Sequence[Prompt], *part: int | str, spared_at: int | None = None
    ) -> tuple[Rollout, Scoring]:
        """Samples of a part of a step, which its seeds are named after."""
        scoring = self.score.begin(
            progress_at(step, self.steps),
            derived_seed(self.seed, step, "repeat", *part),
            group_size=self.group_size,
            step=spared_at,
            updates=step,
        )
        start = time.perf_counter()
        rollout = self.engine.generate(
            prompts,
            self.group_size,
            derived_seed(self.seed, step, self.ranks.rank, *part),
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
    """Rollouts are generated and judged while the policy learns from an earlier one.

    A thread of its own makes them one by one, in the order of steps, and begins as many as `most`
    beyond the one that is trained on: each has weights that are at most so many updates older than
    those that learn from it. New weights come between two rollouts, as soon as the one under way is
    finished. With `in_flight` they come at once, and what is unfinished goes on under them.

    The engine must not share this process's interpreter, or both would crawl.

    Args:
        turns: those of all who use the sampler's engine.
        most: `rollout.staleness`, at least 1.
        in_flight: the engine takes weights while it generates.
    """

    def __init__(
        self, sampler: Sampler, turns: Turns, most: int = 1, *, in_flight: bool = False
    ) -> None:
        self._sampler = sampler
        self._turns = turns
        self._most = most
        self._in_flight = in_flight
        self._thread = ThreadPoolExecutor(1, "rollout")
        self._ended = Event()
        self._coming: deque[_Coming] = deque()  # of the steps to be taken next, in order

    def take(self, step: int) -> tuple[Rollout, Scoring]:
        """See `RolloutStream.take`."""
        last = min(step + self._most, self._sampler.steps.stop - 1)
        for later in range(step + len(self._coming), last + 1):
            self._coming.append(self._begin(later))
        taken = self._coming.popleft().made.result()
        if self._coming:
            # The next one has the weights that there are now, however soon others come.
            self._coming[0].begun.wait()
        return taken

    def epochs(self, steps: int) -> float:
        """See `RolloutStream.epochs`."""
        return self._sampler.prompts.epochs(steps)

    def refresh(self, weights: Weights, version: int) -> None:
        """See `RolloutStream.refresh`. Unless they come in flight it waits for the rollout under
        way, on every rank, and no other begins before it."""
        engine, ranks = self._sampler.engine, self._sampler.ranks
        if self._in_flight:
            engine.load_weights(weights, version)
            return
        with self._turns.turn():
            if ranks.size > 1:
                ranks.wait()  # of an engine that several ranks share, none may be generating
            engine.load_weights(weights, version)

    def close(self) -> None:
        """See `RolloutStream.close`. A rollout under way is left to end with its engine, and none
        is begun any more."""
        self._ended.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, step: int) -> _Coming:
        begun = Event()
        return _Coming(begun, self._thread.submit(self._make, step, begun))

    def _make(self, step: int, begun: Event) -> tuple[Rollout, Scoring]:
        try:
            with self._turns.turn():
                if self._ended.is_set():
                    raise CancelledError
                begun.set()
                return self._sampler.sample(step)
        except BaseException:
            self._ended.set()  # `take` raises it: nobody will take those after it
            raise
        finally:
            begun.set()


@dataclass(frozen=True, slots=True)
class _Coming:
    """A rollout that will be taken."""

    begun: Event
    """It has its weights, or will never be."""
    made: Future[tuple[Rollout, Scoring]]
