"""A report on a rubric data set: its contents, and what was lost or told by rule in reading it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from rvpo.criterion import Criterion, CriterionClass
from rvpo.rubrics.doubt import UnclearSign
from rvpo.rubrics.mirror import mirrored
from rvpo.rubrics.settling import RubricCounts
from rvpo.rubrics.sign import Doubtful

_BECAME: Mapping[Doubtful, str] = {
    "drop": "left out",
    "keep": "kept as negative",
    "flip": "flipped to positive",
}
_FAILING_BECAME: Mapping[Doubtful, str] = {
    "drop": "left out",
    "keep": "kept as positive",
    "flip": "flipped to negative",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricStatistics:
    """Statistics of rows with rubrics, the same for every data set. Empty means are 0."""

    prompts: int
    criteria: int
    fewest: int
    """Criteria of the prompt that has the fewest."""
    mean: float
    """Criteria per prompt."""
    most: int
    class_shares: Mapping[CriterionClass, float]
    """Share of all criteria; the classes that occur."""
    positive_shares: Mapping[CriterionClass, float]
    """Share of a class's criteria that a good response meets."""
    axis_shares: Mapping[str, float]
    """Share of all criteria; empty where the data set has no axes."""
    mirrored: int
    """Pairs of a criterion and its negation in one rubric; see `rubrics.mirror`."""

    def __str__(self) -> str:
        text = (
            f"{_count(self.prompts, 'prompt')} with {self.fewest} to {self.most} criteria, "
            f"{self.mean:.1f} on average. "
        )
        if self.criteria:
            text += "Classes: " + _listed(
                f"{label} {share:.1%} ({self.positive_shares[label]:.0%} positive)"
                for label, share in self.class_shares.items()
            )
            text += "."
        if self.axis_shares:
            text += " Axes: " + _listed(f"{a} {share:.1%}" for a, share in self.axis_shares.items())
            text += "."
        if self.mirrored:
            text += f" Criteria that negate another of their rubric: {self.mirrored}."
        return text.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricReport:
    """Account of raw rows that became rows with rubrics."""

    read: int
    """Raw rows that were read."""
    dropped_rows: Mapping[str, int]
    """Rows left out, by reason."""
    dropped_criteria: Mapping[str, int] = field(default_factory=dict)
    """Criteria left out, by reason."""
    mended: Mapping[str, int] = field(default_factory=dict)
    """Criteria taken in spite of a flaw, by flaw."""
    told_by: Mapping[str, int] = field(default_factory=dict)
    """Pitfalls by what told their sign: column, title, wording, rubric, size, judge, or nothing."""
    doubtful: Doubtful = "drop"
    """Treatment of those that nothing told, of demands and of failures."""
    demands: int = 0
    """Criteria of points below 0 that are worded as what a good response does."""
    failures: int = 0
    """Criteria of points above 0 that are worded as what a bad response does."""
    unclear: tuple[UnclearSign, ...] = ()
    """Criteria whose sign was in doubt, and that no judge told."""
    statistics: RubricStatistics

    @classmethod
    def of(
        cls, read: int, rows: Sequence[Mapping[str, Any]], counts: RubricCounts, doubtful: Doubtful
    ) -> RubricReport:
        """The account of what was counted.

        Args:
            read: raw rows that were read.
            rows: those that became rows with rubrics.
        """
        return cls(
            read=read,
            dropped_rows=dict(counts.dropped_rows),
            dropped_criteria=dict(counts.dropped_criteria),
            mended=dict(counts.mended),
            told_by=dict(counts.told_by),
            doubtful=doubtful,
            demands=counts.demands,
            failures=counts.failures,
            unclear=tuple(counts.unclear),
            statistics=rubric_statistics(rows),
        )

    def __str__(self) -> str:
        text = f"{_count(self.read, 'row')} read, {self.statistics.prompts} kept"
        if self.dropped_rows:
            text += f" (left out: {_listed(_counts(self.dropped_rows))})"
        text += "."
        if self.statistics.prompts:
            text += f" {self.statistics}"
        if self.dropped_criteria:
            text += f" Criteria left out: {_listed(_counts(self.dropped_criteria))}."
        if self.mended:
            text += f" Criteria mended: {_listed(_counts(self.mended))}."
        counts = RubricCounts(
            told_by=Counter(self.told_by), demands=self.demands, failures=self.failures
        )
        told = signs_told(counts, self.doubtful)
        return f"{text} {told}" if told else text


def unclear_told(counts: RubricCounts, doubtful: Doubtful) -> str:
    """Sentences on the criteria of a column that were left out, and on signs in question; empty
    where all was clear."""
    signs = signs_told(counts, doubtful)
    if not counts.dropped_criteria:
        return signs
    return f"Criteria left out: {_listed(_counts(counts.dropped_criteria))}. {signs}".strip()


def signs_told(counts: RubricCounts, doubtful: Doubtful) -> str:
    """Sentences on the signs that were in question: by what they were told, and what became of the
    others; empty where none was."""
    said = []
    if pitfalls := sum(counts.told_by.values()):
        told = _listed(f"{n} by the {by}" for by, n in counts.told_by.items() if by != "nothing")
        said.append(f"Signs of {_count(pitfalls, 'pitfall')} told: {told or 'none'}.")
        if untold := counts.told_by.get("nothing", 0):
            share = untold / pitfalls
            said.append(f"Unclear: {untold} ({share:.1%}), {_BECAME[doubtful]}.")
    if counts.demands:
        said.append(
            "Criteria that cost points and are worded as what is wanted: "
            f"{counts.demands}, {_BECAME[doubtful]}."
        )
    if counts.failures:
        said.append(
            "Criteria that earn points and are worded as a failure: "
            f"{counts.failures}, {_FAILING_BECAME[doubtful]}."
        )
    return " ".join(said)


def rubric_statistics(rows: Sequence[Mapping[str, Any]]) -> RubricStatistics:
    """Count what the column `rubric` of rows holds.

    Raises:
        TypeError, ValueError: a criterion is not one.
    """
    rubrics = [[Criterion.from_row(item) for item in row["rubric"]] for row in rows]
    sizes = [len(rubric) for rubric in rubrics]
    criteria = [criterion for rubric in rubrics for criterion in rubric]
    by_class: dict[CriterionClass, list[Criterion]] = defaultdict(list)
    for criterion in criteria:
        by_class[criterion.label].append(criterion)
    axes = Counter(criterion.axis for criterion in criteria if criterion.axis)
    return RubricStatistics(
        prompts=len(rows),
        criteria=len(criteria),
        fewest=min(sizes, default=0),
        mean=len(criteria) / len(rows) if rows else 0.0,
        most=max(sizes, default=0),
        class_shares={
            label: len(by_class[label]) / len(criteria)
            for label in get_args(CriterionClass)
            if label in by_class
        },
        positive_shares={
            label: sum(c.polarity == "positive" for c in by_class[label]) / len(by_class[label])
            for label in get_args(CriterionClass)
            if label in by_class
        },
        axis_shares={axis: number / len(criteria) for axis, number in axes.most_common()},
        mirrored=sum(map(mirrored, rubrics)),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _counts(numbers: Mapping[str, int]) -> list[str]:
    return [f"{number} {reason}" for reason, number in numbers.items()]


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
