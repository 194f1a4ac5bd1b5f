"""Rows of Rubrics as Rewards (RaR, arXiv:2507.17746; ScaleAI/RaR-Medicine and RaR-Science).

A raw row has a question, a reference answer and a rubric, whose criteria begin with the name of
their class ("Essential Criteria: ..."), not always in that form, and carry a weight.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from rvpo.criterion import Criterion, CriterionClass, Polarity
from rvpo.errors import DataError
from rvpo.files.literal import read_list
from rvpo.rubrics.overlap import normalized, question
from rvpo.rubrics.report import RubricReport, rubric_statistics
from rvpo.rubrics.sign import DOUBTFUL_POLARITY, Doubtful, SignSource, sign
from rvpo.rubrics.source import RubricSource

Domain = Literal["medicine", "science"]

_CLASS_NAMES: Mapping[str, CriterionClass | None] = {
    "essential": "essential",
    "critical": "essential",
    "mandatory": "essential",
    "important": "important",
    "importance": "important",
    "optional": "optional",
    "option": "optional",
    "pitfall": "pitfall",
    "pitfalls": "pitfall",
    "universal": None,  # names no class of ours: its weight does
}
_TYPICAL_POINTS: Mapping[CriterionClass, float] = {
    "essential": 5.0,
    "important": 3.0,
    "optional": 1.0,
    "pitfall": 1.0,
}
# Of these alone a misspelling is taken; one of "option" could be "options", which is a word.
_OFTEN_MISSPELT = ("essential", "important", "optional", "pitfall")
# A name in brackets needs no more. Another is followed by the word "Criteria", by a colon or dash,
# or by both; the bare word only where a sentence begins after it, for "Important criteria are
# listed" is one. Its number in a list and its points may be written beside it.
_MARKUP = r"[\s*_\"']*"
_DASH = r"[:.\u2013\u2014-]"
_CRITERIA = r"\s+(?i:criteri(?:a|on))"
_NUMBER = r"(?:\(?\d+[.):]\s*)?"
_POINTS = r"(?:\s*[(\[][^()\[\]]{0,20}\d[^()\[\]]{0,20}[)\]])?"
_PREFIX = re.compile(
    rf"[#>-]*{_MARKUP}{_NUMBER}{_MARKUP}(?:"
    rf"[\[(]\s*(?P<bracketed>[A-Za-z]+)(?:{_CRITERIA})?{_POINTS}(?:[,:\s]+[-+]?\d+)?\s*[\])]"
    rf"{_MARKUP}(?:{_DASH}\s)?|"
    rf"(?P<name>[A-Za-z]+)(?:{_CRITERIA}(?:\s+\d+(?=\W))?{_POINTS}{_MARKUP}(?:{_DASH}|(?<=\s)(?=[A-Z]))|"
    rf"{_POINTS}{_MARKUP}:|{_POINTS}\s+{_DASH}\s)"
    rf"){_MARKUP}"
)


@dataclass(frozen=True, slots=True)
class _Read:
    """A criterion, and what had to be told by rule."""

    criterion: Criterion | None
    """The criterion; None where nothing told its sign and such are left out."""
    mended: tuple[str, ...] = ()
    told_by: SignSource | Literal["nothing"] | None = None
    """Source that told its polarity; None where that was no question."""


@dataclass
class _Counts:
    """Counts for the report, while rows are read."""

    dropped_rows: Counter[str] = field(default_factory=Counter)
    dropped_criteria: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    told_by: Counter[str] = field(default_factory=Counter)


class RarSource(RubricSource):
    """Rubrics as Rewards."""

    columns: ClassVar[tuple[str, ...]] = ("question", "rubric")

    format: Literal["rar"]
    """Rubrics as Rewards (question, reference_answer, rubric)."""
    domain: Domain
    """The data set, medicine or science; the ids of its rows begin with the word."""
    doubtful: Doubtful = "drop"
    """Treatment of criteria of negative weight whose sign is in doubt: neither title nor sentence
    nor the rubric tells whether meeting a pitfall is bad. `drop` leaves them out, `keep` counts
    meeting them as bad, `flip` as good. The counts are in what the data say."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """See `rar_rows`."""
        return rar_rows(raw, self.domain, self.doubtful)


def rar_rows(
    raw: Sequence[Mapping[str, Any]], domain: Domain, doubtful: Doubtful = "drop"
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

    Raises:
        DataError: the domain is unknown, or an explicit polarity is neither of the two.
    """
    if domain not in get_args(Domain):
        raise DataError(f"domain: must be {' or '.join(get_args(Domain))}, got {domain!r}")
    rows: list[dict[str, Any]] = []
    counts = _Counts()
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
        rubric = _rubric(raw_row.get("rubric"), doubtful, f"row {number}", counts)
        if not rubric:
            counts.dropped_rows["without usable criteria"] += 1
            continue
        asked.add(key)
        rows.append(
            {
                "id": f"{domain}-{_digest(key)}",
                "prompt": text,
                "rubric": [criterion.to_row() for criterion in rubric],
                "reference_answer": raw_row.get("reference_answer") or "",
                "source": raw_row.get("question_source") or "",
            }
        )
    return rows, RubricReport(
        read=len(raw),
        dropped_rows=dict(counts.dropped_rows),
        dropped_criteria=dict(counts.dropped_criteria),
        mended=dict(counts.mended),
        told_by=dict(counts.told_by),
        doubtful=doubtful,
        statistics=rubric_statistics(rows),
    )


def _rubric(value: Any, doubtful: Doubtful, where: str, counts: _Counts) -> list[Criterion]:
    rubric: dict[str, Criterion] = {}
    items = read_list(value) or []
    wanted = _wanted(items)
    for number, item in enumerate(items):
        read = _criterion(item, wanted, doubtful, f"{where}, criterion {number}")
        if isinstance(read, str):
            counts.dropped_criteria[read] += 1
            continue
        known = rubric.get(key := normalized(read.criterion.text)) if read.criterion else None
        if read.criterion and known is not None:
            is_same = known.polarity == read.criterion.polarity
            counts.dropped_criteria["repeated" if is_same else "repeated to the contrary"] += 1
            continue
        if read.told_by:
            counts.told_by[read.told_by] += 1
        if read.criterion:
            rubric[key] = read.criterion
            counts.mended.update(read.mended)
    return list(rubric.values())


def _wanted(items: Sequence[Any]) -> list[str]:
    """The sentences that the rubric asks for: not its pitfalls."""
    wanted = []
    for item in items:
        description = item.get("description") if isinstance(item, Mapping) else None
        if isinstance(description, str):
            label, text = _labelled(item, description)
            weight = _number(item.get("weight"))
            if "pitfall" not in (label, label or _class_of(weight)) and (weight or 0) >= 0:
                wanted.append(text)
    return wanted


def _criterion(item: Any, wanted: Sequence[str], doubtful: Doubtful, where: str) -> _Read | str:
    """The criterion, or why it is none."""
    description = item.get("description") if isinstance(item, Mapping) else None
    label, text = _labelled(item, description) if isinstance(description, str) else (None, "")
    if not text:
        return "without a description"
    mended = []
    weight = _number(item.get("weight"))
    if label is None:
        label = _class_of(weight)
        if label is None:
            return "without a class or a weight to tell it"
        mended.append("class told from the weight")
    if weight is None:
        weight = _TYPICAL_POINTS[label]
        mended.append("weight not readable and taken as usual for the class")
    told_by: SignSource | Literal["nothing"] | None = None
    polarity = _explicit(item.get("polarity"), where)
    if label == "pitfall" or weight < 0:
        title = item.get("title")
        told = sign(text, title if isinstance(title, str) else "", wanted)
        told_by = "column" if polarity else told.told_by if told else "nothing"
        polarity = polarity or (told.polarity if told else DOUBTFUL_POLARITY[doubtful])
        if polarity is None:
            return _Read(None, (), told_by)
    criterion = Criterion(
        text=text, polarity=polarity or "positive", label=label, points=abs(weight)
    )
    return _Read(criterion, tuple(mended), told_by)


def _labelled(item: Mapping[str, Any], description: str) -> tuple[CriterionClass | None, str]:
    """The class and the sentence; the description's own label goes before a column's."""
    label, text = _split(description)
    category = item.get("category")
    if label is None and isinstance(category, str):
        words = category.lower().split()
        name = _class_name(words[0].strip(":")) if words else None
        label = _CLASS_NAMES[name] if name else None
    return label, text


def _split(description: str) -> tuple[CriterionClass | None, str]:
    """The class that the description begins with, if that tells one, and the text after it."""
    prefix = _PREFIX.match(description)
    word = (prefix["name"] or prefix["bracketed"]).lower() if prefix else ""
    name = _class_name(word)
    if prefix is None or name is None:
        return None, description.strip()
    return _CLASS_NAMES[name], description[prefix.end() :].strip()


def _class_name(word: str) -> str | None:
    """The class name that a word is, give or take one slip after its first letter."""
    if word in _CLASS_NAMES:
        return word
    # "Essentials" is a word of its own.
    names = (name for name in _OFTEN_MISSPELT if word != name + "s" and _is_slip(word, name))
    return next(names, None)


def _is_slip(word: str, name: str) -> bool:
    """True where one letter is missing, added or another, or two neighbours are swapped."""
    start = 0
    while start < min(len(word), len(name)) and word[start] == name[start]:
        start += 1
    rest, right = word[start:], name[start:]
    return start > 0 and (
        rest == right[1:]
        or rest[1:] == right
        or rest[1:] == right[1:]
        or (rest[:2] == right[1::-1] and rest[2:] == right[2:])
    )


def _class_of(weight: float | None) -> CriterionClass | None:
    """Medicine's weights: Essential 5, Important 3 or 4, Optional 1 or 2, Pitfall below 0."""
    if not weight:
        return None
    if weight < 0:
        return "pitfall"
    if weight >= 5:
        return "essential"
    return "important" if weight >= 3 else "optional"


def _explicit(given: Any, where: str) -> Polarity | None:
    given = given.strip().lower() or None if isinstance(given, str) else given
    if given is not None and given not in get_args(Polarity):
        raise DataError(
            f"{where}: polarity is {given!r}; give positive (a good response meets the criterion) "
            "or negative, or leave it out"
        )
    polarity: Polarity | None = given
    return polarity


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
