"""Rows of Rubrics as Rewards (RaR, arXiv:2507.17746; ScaleAI/RaR-Medicine and RaR-Science).

A raw row has a question, a reference answer and a rubric, whose criteria begin with the name of
their class ("Essential Criteria: ..."), not always in that form, and carry a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.errors import DataError
from rvpo.rubrics.doubt import Doubt
from rvpo.rubrics.item import NO_NUMBER, RubricItem
from rvpo.rubrics.listing import entries_at
from rvpo.rubrics.overlap import question
from rvpo.rubrics.report import RubricReport
from rvpo.rubrics.settling import Convention, RubricCounts, item_at, settle, usable
from rvpo.rubrics.sign import Doubtful
from rvpo.rubrics.source import SignedSource
from rvpo.rubrics.table import digest

Domain = Literal["medicine", "science"]

_TYPICAL_POINTS: Mapping[CriterionClass, float] = {
    "essential": 5.0,
    "important": 3.0,
    "optional": 1.0,
    "pitfall": 1.0,
}
_CONVENTION = Convention(signed=False)


class RarSource(SignedSource):
    """Rubrics as Rewards."""

    columns: ClassVar[tuple[str, ...]] = ("question", "rubric")

    format: Literal["rar"]
    """Rubrics as Rewards (question, reference_answer, rubric)."""
    domain: Domain
    """The data set, medicine or science; the ids of its rows begin with the word."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """See `rar_rows`."""
        return rar_rows(raw, self.domain, self.doubtful, self.doubt().known)


def rar_rows(
    raw: Sequence[Mapping[str, Any]],
    domain: Domain,
    doubtful: Doubtful = "drop",
    signs: Mapping[str, Polarity] | None = None,
) -> tuple[list[dict[str, Any]], RubricReport]:
    """Raw rows as rows with `id`, `prompt`, `rubric`, `reference_answer` and `source`.

    A question that was asked before, and a criterion that its rubric already has, are left out. An
    id is made from the question, so it is the same in every split and order of the rows.

    Args:
        raw: rows with the columns question, rubric, and as far as they have them reference_answer
            and question_source. A rubric is a list of criteria, or one written as JSON or as a
            Python literal; a criterion has a description, a weight and, if it likes, a `title`,
            a `category` (its class, where the description does not begin with one) and a
            `polarity`, which overrides what `rubrics.sign` tells.
        domain: begins the ids.
        doubtful: treatment of pitfalls whose sign nothing tells: "drop" leaves them out, "keep"
            takes the sign of their weight (negative), "flip" the other one.
        signs: those that a judge told; see `Doubt`.

    Raises:
        DataError: the domain is unknown, an explicit polarity is neither of the two, or columns
            of criteria differ in length.
    """
    if domain not in get_args(Domain):
        raise DataError(f"domain: must be {' or '.join(get_args(Domain))}, got {domain!r}")
    doubt = Doubt(doubtful, signs or {})
    rows: list[dict[str, Any]] = []
    counts = RubricCounts()
    asked: set[str] = set()
    for number, raw_row in enumerate(raw):
        text = raw_row.get("question")
        if not isinstance(text, str) or not text.strip():
            counts.dropped_rows["without a question"] += 1
            continue
        key = question(text)
        if key in asked:
            counts.dropped_rows["asked before"] += 1
            continue
        rubric = _rubric(raw_row.get("rubric"), doubt, f"row {number}", counts, key)
        if not rubric:
            counts.dropped_rows["without usable criteria"] += 1
            continue
        asked.add(key)
        rows.append(
            {
                "id": f"{domain}-{digest(key)}",
                "prompt": text,
                "rubric": [criterion.to_row() for criterion in rubric],
                "reference_answer": raw_row.get("reference_answer") or "",
                "source": raw_row.get("question_source") or "",
            }
        )
    return rows, RubricReport.of(len(raw), rows, counts, doubtful)


def _rubric(
    value: Any, doubt: Doubt, where: str, counts: RubricCounts, asked: str
) -> list[Criterion]:
    items: list[RubricItem] = []
    mended: dict[int, list[str]] = {}
    for place, entry in enumerate(entries_at(value, f"{where}, rubric")):
        item, flaws = _filled(item_at(entry, f"{where}, criterion {place}"))
        if reason := _flaw(item):
            counts.dropped_criteria[reason] += 1
        else:
            items.append(item)
            mended[id(item)] = flaws
    rubric = settle(items, _CONVENTION, doubt, counts, asked)
    for item, _ in rubric:
        counts.mended.update(mended[id(item)])
    return [criterion for _, criterion in rubric]


def _flaw(item: RubricItem) -> str:
    return usable(replace(item, size=item.size or None), _CONVENTION) or (
        "" if item.label else "without a class or a weight to tell it"
    )


def _filled(item: RubricItem) -> tuple[RubricItem, list[str]]:
    """The item with a class and a weight, as far as they can be told from each other, and what had
    to be."""
    flaws = []
    label, size = item.label, item.size
    flaw = "" if item.flaw == NO_NUMBER else item.flaw  # the class tells the size
    if label is None and (label := _class_of(size)) is not None:
        flaws.append("class told from the weight")
    if size is None and label is not None:
        size = _TYPICAL_POINTS[label]
        flaws.append("weight not readable and taken as usual for the class")
    return replace(item, label=label, size=size, flaw=flaw), flaws


def _class_of(weight: float | None) -> CriterionClass | None:
    """Medicine's weights: Essential 5, Important 3 or 4, Optional 1 or 2, Pitfall below 0."""
    if not weight:
        return None
    if weight < 0:
        return "pitfall"
    if weight >= 5:
        return "essential"
    return "important" if weight >= 3 else "optional"
