"""Remarks of a judge about criteria, with what makes scores of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.judge.types import Answer
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
        return cls(
            question=criterion.text,
            answer=said,
            reason=verdict.reason,
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
