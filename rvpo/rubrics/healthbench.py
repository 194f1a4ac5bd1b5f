"""Rows in the form of HealthBench (arXiv:2505.08775; openai/healthbench).

A raw row has a conversation and a rubric whose criteria carry points from -10 to 10. The sign is
the polarity: points below 0 are lost by a response that meets the criterion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from rvpo.criterion import Polarity
from rvpo.files.literal import read_list
from rvpo.rubrics.doubt import Doubt
from rvpo.rubrics.listing import entries_at
from rvpo.rubrics.overlap import question
from rvpo.rubrics.report import RubricReport
from rvpo.rubrics.settling import Convention, RubricCounts, read_rubric
from rvpo.rubrics.sign import Doubtful
from rvpo.rubrics.source import SignedSource
from rvpo.types import is_message

_CONVENTION = Convention(sized=True, full=10.0, repeats=True)
"""HealthBench has no classes: 7 and more points are essential here, 4 to 6 important, less
optional; below 0 is a pitfall."""


class HealthBenchSource(SignedSource):
    """HealthBench."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "rubrics")

    format: Literal["healthbench"]
    """HealthBench (prompt, rubrics)."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """See `healthbench_rows`."""
        return healthbench_rows(raw, self.doubtful, self.doubt().known)


def healthbench_rows(
    raw: Sequence[Mapping[str, Any]],
    doubtful: Doubtful = "drop",
    signs: Mapping[str, Polarity] | None = None,
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
        signs: those that a judge told; see `Doubt`.

    Raises:
        DataError: a stated polarity is none, or columns of criteria differ in length.
    """
    doubt = Doubt(doubtful, signs or {})
    rows: list[dict[str, Any]] = []
    counts = RubricCounts()
    ids: set[str] = set()
    for number, raw_row in enumerate(raw):
        identity = str(raw_row.get("prompt_id") or f"healthbench-{number}")
        messages = _messages(raw_row.get("prompt"))
        written = entries_at(raw_row.get("rubrics"), f"row {number}, rubrics")
        asked = question(messages)
        rubric = read_rubric(written, _CONVENTION, doubt, f"row {number}", counts, asked)
        if not messages:
            counts.dropped_rows["without a conversation"] += 1
        elif not rubric:
            counts.dropped_rows["without usable criteria"] += 1
        elif identity in ids:
            counts.dropped_rows["of an id met before"] += 1
        else:
            ids.add(identity)
            rows.append(
                {
                    "id": identity,
                    "prompt": messages,
                    "rubric": rubric,
                    "ideal_completion": _ideal(raw_row.get("ideal_completions_data")),
                    "example_tags": read_list(raw_row.get("example_tags")) or [],
                    "canary": raw_row.get("canary") or "",
                }
            )
    return rows, RubricReport.of(len(raw), rows, counts, doubtful)


def _ideal(value: Any) -> str:
    text = value.get("ideal_completion") if isinstance(value, Mapping) else None
    return text if isinstance(text, str) else ""


def _messages(value: Any) -> list[dict[str, str]]:
    """The turns, or none where one of them is no turn."""
    turns = read_list(value) or []
    if not all(map(is_message, turns)):
        return []
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]
