"""Criteria that tell no samples apart, asked of a few samples of each group.

A criterion that every sample met, or none, in `after` steps in a row is *settled*, and from then on
asked of `ask` samples of each group. These are drawn by the run's seed, before any answer is known
and whatever the answers, so the mean over them is an unbiased estimate of the group's mean. As soon
as one of the few differs the criterion is open again, and later steps ask about it everywhere. The
step that found it does not: asking the others only where the few differ would bias the mean.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterable, Mapping, Set
from dataclasses import astuple, dataclass
from typing import Any, Final

from rvpo.config.spare import SpareConfig
from rvpo.judge.types import Answer, Question
from rvpo.runtime.seed import derived_seed

SPARED: Final = Answer(value=None, failure="spared")
"""Stands for the answer to a question that was not asked of a sample."""


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """Verdicts of a step on one criterion. Those of several ranks add up."""

    met: int = 0
    """Known verdicts of 1."""
    unmet: int = 0
    """Known verdicts of 0."""
    between: int = 0
    """Known verdicts in between, as grades may be."""

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> VerdictCounts:
        """Count answers; failed ones say nothing."""
        values = [answer.value for answer in answers if answer.value is not None]
        met, unmet = values.count(1), values.count(0)
        return cls(met, unmet, len(values) - met - unmet)

    def __add__(self, other: VerdictCounts) -> VerdictCounts:
        return VerdictCounts(
            self.met + other.met, self.unmet + other.unmet, self.between + other.between
        )

    @property
    def is_known(self) -> bool:
        """True where any verdict is."""
        return self.met + self.unmet + self.between > 0

    @property
    def common(self) -> int | None:
        """The verdict that all samples share, 1 or 0; None where they do not."""
        if self.between or (self.met and self.unmet):
            return None
        return int(self.met > 0)


@dataclass(frozen=True, slots=True)
class Streak:
    """Steps in a row in which all samples had the same verdict on a criterion."""

    value: int
    """1 or 0."""
    steps: int

    @classmethod
    def after(cls, before: Streak | None, outcome: VerdictCounts) -> Streak | None:
        """The streak that a step leaves, None where samples differed."""
        if not outcome.is_known:
            return before
        value = outcome.common
        if value is None:
            return None
        goes_on = before is not None and before.value == value
        return Streak(value, 1 + (before.steps if before is not None and goes_on else 0))


StepVerdicts = Mapping[str, VerdictCounts]
"""StepVerdicts of a step by the key of the criterion."""


def key_of(reward: str, question: Question) -> str:
    """Name of a reward's criterion in the memory of a run."""
    return hashlib.blake2b(repr((reward, question)).encode(), digest_size=8).hexdigest()


class Sparing:
    """Memory of a run for which criteria are settled.

    The choices of a step follow from the outcomes of those steps alone that were finished, however
    the machine was, when its rollout began: with rollouts made ahead, the newest are left out.

    Args:
        rewards: the settings by reward.
        seed: the run's.
        lag: steps that rollouts are ahead at most, `rollout.staleness`.
    """

    name = "spare"

    def __init__(self, rewards: Mapping[str, SpareConfig], seed: int, lag: int = 0) -> None:
        self.rewards = rewards
        self._seed = seed
        self._lag = lag
        self._streaks: dict[str, Streak] = {}
        self._newest: list[tuple[int, StepVerdicts]] = []  # of `lag` steps, not in `_streaks` yet
        self._lock = threading.Lock()  # a rollout begins while a step is concluded

    def at(self, step: int) -> Spared:
        """The choices of a step."""
        with self._lock:
            streaks = dict(self._streaks)
            for done, outcomes in self._newest:
                if done < step - self._lag:
                    _conclude(streaks, outcomes)
        least = min((each.after for each in self.rewards.values()), default=0)
        known = {key: streak for key, streak in streaks.items() if streak.steps >= least}
        return Spared(self, step, known, self._seed)

    def conclude(self, step: int, outcomes: StepVerdicts) -> None:
        """Remember a finished step's outcomes, of all ranks."""
        with self._lock:
            self._newest.append((step, outcomes))
            while self._newest and self._newest[0][0] <= step - self._lag:
                _conclude(self._streaks, self._newest.pop(0)[1])

    def state(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        with self._lock:
            return {
                "streaks": {key: astuple(streak) for key, streak in self._streaks.items()},
                "newest": [
                    [step, {key: astuple(outcome) for key, outcome in outcomes.items()}]
                    for step, outcomes in self._newest
                ],
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        with self._lock:
            self._streaks = {key: Streak(*each) for key, each in state["streaks"].items()}
            self._newest = [
                (step, {key: VerdictCounts(*each) for key, each in outcomes.items()})
                for step, outcomes in state["newest"]
            ]


@dataclass(frozen=True)
class Spared:
    """The choices of one step: which criteria are settled, and which samples are asked."""

    memory: Sparing
    step: int
    streaks: Mapping[str, Streak]
    seed: int

    @property
    def rewards(self) -> Set[str]:
        """Names of the rewards whose criteria may be settled."""
        return self.memory.rewards.keys()

    def settled(self, reward: str, questions: Iterable[Question]) -> dict[Question, Streak]:
        """The streaks of those criteria that are asked of a few samples."""
        config = self.memory.rewards.get(reward)
        if config is None:
            return {}
        streaks = {q: self.streaks.get(key_of(reward, q)) for q in questions}
        return {q: s for q, s in streaks.items() if s is not None and s.steps >= config.after}

    def is_asked(self, reward: str, prompt_id: str, row: int, group_size: int) -> bool:
        """True for a sample that is asked about the settled criteria of a reward.

        The few are the same for all criteria of a group, so that of these samples all is known.
        """
        first = row - row % group_size
        seed = derived_seed(self.seed, "spare", self.step, prompt_id, first)
        few = self.memory.rewards[reward].ask
        places = random.Random(seed).sample(range(group_size), group_size)
        return row - first in places[:few]

    def conclude(self, outcomes: StepVerdicts) -> None:
        """Remember the step's outcomes, of all ranks."""
        self.memory.conclude(self.step, outcomes)


def added(parts: Iterable[StepVerdicts]) -> dict[str, VerdictCounts]:
    """The counts of several ranks or judges together."""
    found: dict[str, VerdictCounts] = {}
    for part in parts:
        for key, counts in part.items():
            found[key] = found.get(key, VerdictCounts()) + counts
    return found


def _conclude(streaks: dict[str, Streak], outcomes: StepVerdicts) -> None:
    for key, outcome in outcomes.items():
        streak = Streak.after(streaks.get(key), outcome)
        if streak is None:
            streaks.pop(key, None)
        else:
            streaks[key] = streak
