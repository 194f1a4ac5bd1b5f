"""Remarks of a judge about criteria, with what makes scores of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.judge.types import Answer, Question
from rvpo.judge.verdict import is_graded, told
from rvpo.rewards.spare import Streak
from rvpo.types import Failed, Remark


@dataclass(frozen=True, slots=True)
class Judged:
    """A criterion, and what the judge says of it."""

    criterion: Criterion
    share: float
    """Share of the reward's weight, among the criteria of the prompt, in [0, 1]."""
    question: Question
    answer: Answer

    @property
    def score(self) -> float | Failed:
        """1 where a positive criterion is met or a negative one is not, 0 where it is the other way
        round, in between for grades."""
        if self.answer.value is None:
            return Failed(self.answer.failure or "no answer")
        return self.criterion.score(self.answer.value)


@dataclass(frozen=True, slots=True)
class CriterionRemark(Remark):
    """A verdict on one criterion."""

    polarity: Polarity
    label: CriterionClass
    axis: str
    """Topic; empty where the data set has none."""
    share: float
    """Share of the reward's weight, among the criteria of the prompt, in [0, 1]."""

    @classmethod
    def of(cls, judged: Judged) -> CriterionRemark:
        criterion, answer = judged.criterion, judged.answer
        if answer.value is None:
            said = f"failed: {answer.failure or 'no answer'}"
        else:
            said = told(judged.question, answer.value)
        return cls._saying(said, answer.reason, criterion, judged.share)

    @classmethod
    def not_asked(cls, criterion: Criterion, share: float, streak: Streak) -> CriterionRemark:
        """In place of a verdict on a sample that a settled criterion was not asked of."""
        who = "every sample" if streak.value else "no sample"
        why = f"{who} met it in the last {streak.steps} steps, and others of the group were asked"
        return cls._saying("not asked", why, criterion, share)

    @classmethod
    def _saying(cls, said: str, why: str, criterion: Criterion, share: float) -> CriterionRemark:
        return cls(
            question=criterion.text,
            answer=said,
            reason=why,
            polarity=criterion.polarity,
            label=criterion.label,
            axis=criterion.axis,
            share=share,
        )


@dataclass(frozen=True, slots=True)
class RubricRemark(Remark):
    """The verdicts behind one score: their mean, weighed by their shares."""

    criteria: tuple[CriterionRemark, ...]

    @classmethod
    def of(cls, judged: Iterable[Judged]) -> RubricRemark:
        every = tuple(judged)
        graded = sum(is_graded(one.question) for one in every)
        met = sum(one.answer.value == 1 and not is_graded(one.question) for one in every)
        said = f"{met} of {len(every) - graded} met" if graded < len(every) else ""
        said += f"{', ' if said and graded else ''}{graded} graded" if graded else ""
        criteria = tuple(map(CriterionRemark.of, every))
        return cls(question="all criteria", answer=said, reason="", criteria=criteria)
