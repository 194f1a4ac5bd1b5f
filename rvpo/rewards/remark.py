"""Remarks of a judge about criteria, with what makes scores of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.judge.types import Answer
from rvpo.rewards.spare import Streak
from rvpo.types import Remark


@dataclass(frozen=True, slots=True)
class CriterionRemark(Remark):
    """A verdict: 1 where a positive criterion is met or a negative one is not, else 0."""

    polarity: Polarity
    label: CriterionClass
    axis: str
    """Topic; empty where the data set has none."""
    share: float
    """Share of the reward's weight, among the criteria of the prompt, in [0, 1]."""

    @classmethod
    def of(cls, criterion: Criterion, share: float, verdict: Answer) -> CriterionRemark:
        if verdict.value is None:
            said = f"failed: {verdict.failure or 'no answer'}"
        else:
            said = "met" if verdict.value else "not met"
        return cls._saying(said, verdict.reason, criterion, share)

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
    def of(cls, remarks: Iterable[CriterionRemark]) -> RubricRemark:
        criteria = tuple(remarks)
        met = sum(remark.answer == "met" for remark in criteria)
        said = f"{met} of {len(criteria)} met"
        return cls(question="all criteria", answer=said, reason="", criteria=criteria)
