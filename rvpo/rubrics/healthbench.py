"""Rows in the form of HealthBench (arXiv:2505.08775; openai/healthbench).

A raw row has a conversation and a rubric whose criteria carry points from -10 to 10. The sign is
the polarity: points below 0 are lost by a response that meets the criterion.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from rvpo.criterion import Criterion, CriterionClass
from rvpo.files.literal import read_list
from rvpo.rubrics.polarity import polarity
from rvpo.rubrics.report import RubricReport, rubric_statistics
from rvpo.rubrics.sign import DOUBTFUL_POLARITY, Doubtful
from rvpo.rubrics.source import RubricSource
from rvpo.types import is_message

ESSENTIAL_POINTS = 7.0
IMPORTANT_POINTS = 4.0
"""HealthBench has no classes. Ours are thirds of its 1 to 10 points: 7 and more is essential, 4 to
6 important, less optional; below 0 is a pitfall."""

_AXIS = "axis:"


class HealthBenchSource(RubricSource):
    """HealthBench."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "rubrics")

    format: Literal["healthbench"]
    """HealthBench (prompt, rubrics)."""
    doubtful: Doubtful = "drop"
    """Treatment of criteria of negative weight whose sign is in doubt: they cost points and are
    worded as what is wanted. `drop` leaves them out, `keep` counts meeting them as bad, `flip` as
    good. The counts are in what the data say."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """See `healthbench_rows`."""
        return healthbench_rows(raw, self.doubtful)


def healthbench_rows(
    raw: Sequence[Mapping[str, Any]], doubtful: Doubtful = "drop"
) -> tuple[list[dict[str, Any]], RubricReport]:
    """Raw rows as rows with `id`, `prompt` (chat messages), `rubric`, `ideal_completion` (empty
    where there is none), `example_tags` and `canary`.

    Nothing usable is left out as a duplicate, as the published score counts every row.

    Args:
        raw: rows with the columns prompt, prompt_id, rubrics, ideal_completions_data, example_tags
            and canary. A list may be written as JSON or as a Python literal.
        doubtful: treatment of criteria that cost points and are worded as what is wanted
            ("Should mention X", -6), which would train backwards: "drop" leaves it out, "keep"
            follows the points, "flip" the words. The published score has a reader of its own.
    """
    rows: list[dict[str, Any]] = []
    dropped_rows: Counter[str] = Counter()
    dropped_criteria: Counter[str] = Counter()
    demands = 0
    ids: set[str] = set()
    for number, raw_row in enumerate(raw):
        identity = str(raw_row.get("prompt_id") or f"healthbench-{number}")
        messages = _messages(raw_row.get("prompt"))
        read, dropped = _rubric(raw_row.get("rubrics"))
        dropped_criteria.update(dropped)
        backwards = [criterion for criterion in read if _is_demand(criterion)]
        rubric = _settled(read, doubtful)
        if not messages:
            dropped_rows["without a conversation"] += 1
        elif not rubric:
            dropped_rows["without usable criteria"] += 1
        elif identity in ids:
            dropped_rows["of an id met before"] += 1
        else:
            ids.add(identity)
            demands += len(backwards)
            rows.append(
                {
                    "id": identity,
                    "prompt": messages,
                    "rubric": [criterion.to_row() for criterion in rubric],
                    "ideal_completion": _ideal(raw_row.get("ideal_completions_data")),
                    "example_tags": read_list(raw_row.get("example_tags")) or [],
                    "canary": raw_row.get("canary") or "",
                }
            )
    return rows, RubricReport(
        read=len(raw),
        dropped_rows=dict(dropped_rows),
        dropped_criteria=dict(dropped_criteria),
        doubtful=doubtful,
        demands=demands,
        statistics=rubric_statistics(rows),
    )


def _ideal(value: Any) -> str:
    text = value.get("ideal_completion") if isinstance(value, Mapping) else None
    return text if isinstance(text, str) else ""


def _messages(value: Any) -> list[dict[str, str]]:
    """The turns, or none where one of them is no turn."""
    turns = read_list(value) or []
    if not all(map(is_message, turns)):
        return []
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _is_demand(criterion: Criterion) -> bool:
    return criterion.polarity == "negative" and polarity(criterion.text) == "positive"


def _settled(rubric: Sequence[Criterion], doubtful: Doubtful) -> list[Criterion]:
    sign = DOUBTFUL_POLARITY[doubtful]
    settled = []
    for criterion in rubric:
        if not _is_demand(criterion):
            settled.append(criterion)
        elif sign is not None:
            settled.append(replace(criterion, polarity=sign))
    return settled


def _rubric(value: Any) -> tuple[list[Criterion], Counter[str]]:
    rubric = []
    dropped: Counter[str] = Counter()
    for item in read_list(value) or ():
        text = item.get("criterion") if isinstance(item, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            dropped["without a text"] += 1
            continue
        points = item.get("points")
        if not _is_size(points):
            dropped["without points"] += 1
            continue
        rubric.append(
            Criterion(
                text=text.strip(),
                polarity="positive" if points > 0 else "negative",
                label=_class_of(points),
                points=abs(float(points)),
                axis=_axis(item.get("tags")),
            )
        )
    return rubric, dropped


def _is_size(points: Any) -> bool:
    is_number = isinstance(points, int | float) and not isinstance(points, bool)
    return is_number and math.isfinite(points) and points != 0


def _class_of(points: float) -> CriterionClass:
    if points < 0:
        return "pitfall"
    if points >= ESSENTIAL_POINTS:
        return "essential"
    return "important" if points >= IMPORTANT_POINTS else "optional"


def _axis(tags: Any) -> str:
    names = (tag for tag in read_list(tags) or () if isinstance(tag, str))
    return next((name.removeprefix(_AXIS) for name in names if name.startswith(_AXIS)), "")
