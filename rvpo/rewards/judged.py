"""A reward that a judge gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol, Self

from rvpo.config.rewards import Condition
from rvpo.judge.types import Answer, Question
from rvpo.rewards.cell import Cell
from rvpo.satisfied import Satisfied
from rvpo.schedule import Ramp
from rvpo.types import Prompt


class JudgedReward(Protocol):
    """Asks a judge about each sample, and makes scores of the answers."""

    @property
    def name(self) -> str:
        """The one in reports and metrics."""
        ...

    @property
    def weight(self) -> float | Ramp:
        """Weight among the rewards, shared by its columns."""
        ...

    @property
    def condition(self) -> Condition | None:
        """See `Condition`."""
        ...

    @property
    def satisfied(self) -> Satisfied | None:
        """Scores of it that are good enough; None for that of verdicts."""
        ...

    @property
    def judge(self) -> str:
        """Name of the judge that it asks."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        ...

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show of it."""
        ...

    def fitted(self, prompts: Sequence[Prompt]) -> Self:
        """The reward with as many columns as these prompts need.

        Raises:
            DataError: what a prompt brings for it cannot be read.
        """
        ...

    def asking(self, judge: str) -> Self:
        """The same reward, given by another judge."""
        ...

    def apart(self) -> Self:
        """The same reward with a score for each verdict as far as there are several, for itself:
        of weight 0 and without a condition."""
        ...

    def questions(self, prompt: Prompt) -> tuple[Question, ...]:
        """Questions to the judge about each sample of the prompt, none twice."""
        ...

    def cells(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> list[Cell]:
        """One for each of `columns`, from the answers to `questions`."""
        ...

    def unusable(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> Set[Question]:
        """Questions whose answers it cannot use: those that failed, and all of those that it takes
        together with one that failed."""
        ...


def every_question(rewards: Iterable[JudgedReward], prompt: Prompt) -> tuple[Question, ...]:
    """All that rewards ask about a response to a prompt, nothing twice."""
    return tuple(dict.fromkeys(q for reward in rewards for q in reward.questions(prompt)))
