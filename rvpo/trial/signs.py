"""Signs of criteria, told by a judge that is asked once about each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rvpo.criterion import Polarity
from rvpo.judge.types import Answer, Job, Judge, Question
from rvpo.rubrics.doubt import UnclearSign

_WORSE = Question(
    "criterion",
    "The sentence in the response describes something bad about an answer to the question: an "
    "error, a lack of what was needed, or something that an answer should not do.",
)
_BETTER = Question(
    "criterion",
    "The sentence in the response describes something good about an answer to the question: "
    "something that was needed, or that a mistake is avoided.",
)
_LONGEST = 4000
"""Characters of a question that are shown."""


@dataclass(frozen=True, slots=True)
class ToldSign:
    """A criterion whose sign was in doubt, and the judge's answer."""

    criterion: UnclearSign
    polarity: Polarity | None
    """None where the judge calls it both, neither, or gave no verdict."""
    reason: str
    failed: int
    """Verdicts that failed."""


def ask_signs(unclear: Sequence[UnclearSign], judge: Judge) -> Iterator[ToldSign]:
    """Ask about every criterion at once; the answers follow in order.

    The judge says apart whether meeting the criterion is bad and whether it is good. A sign counts
    only where the two agree: what a judge calls both, or neither, stays unclear.

    Raises:
        RewardError: the judge's worker cannot be reached.
    """
    asked = [judge.submit(_job(criterion)) for criterion in unclear]
    for criterion, future in zip(unclear, asked, strict=True):
        yield _told(criterion, *future.result())


def _job(criterion: UnclearSign) -> Job:
    others = "".join(f"\n- {text}" for text in criterion.others)
    wanted = f"\n\nA good answer to it also meets these criteria:{others}" if others else ""
    return Job(
        conversation=(
            ("user", f"A question to be answered:\n\n{criterion.question[:_LONGEST]}{wanted}"),
        ),
        response=f"A sentence that is true of some answers to the question: {criterion.text}",
        questions=(_WORSE, _BETTER),
    )


def _told(criterion: UnclearSign, worse: Answer, better: Answer) -> ToldSign:
    signs: dict[tuple[float | None, float | None], Polarity] = {
        (1.0, 0.0): "negative",
        (0.0, 1.0): "positive",
    }
    polarity = signs.get((worse.value, better.value))
    said = better if polarity == "positive" else worse
    return ToldSign(
        criterion,
        polarity,
        said.reason or said.failure or "",
        sum(answer.value is None for answer in (worse, better)),
    )
