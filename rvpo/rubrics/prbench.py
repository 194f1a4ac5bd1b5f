"""Rows of PRBench (arXiv:2511.11562; ScaleAI/PRBench).

A row has up to ten turns, `prompt_0`, `response_0`, …, `prompt_9`, each with the reference texts
that go before it. A criterion is a `title`, and `annotations` that name its class of weight; only
the weight of that class counts, others may be left from earlier versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from rvpo.files.literal import read_list
from rvpo.rubrics.conversation import Asked
from rvpo.rubrics.settling import Convention
from rvpo.rubrics.table import TableSource

_MOST_TURNS = 10


class PrBenchSource(TableSource):
    """PRBench."""

    columns: ClassVar[tuple[str, ...]] = ("prompt_0", "rubric")
    criteria: ClassVar[tuple[str, ...]] = ("rubric",)
    ids: ClassVar[tuple[str, ...]] = ("task", "id")
    kept: ClassVar[tuple[str, ...]] = ("field", "topic", "canary")
    convention: ClassVar[Convention] = Convention(sized=True, full=10.0, repeats=True)
    counts_twice: ClassVar[bool] = True

    format: Literal["prbench"]
    """PRBench (prompt_0, rubric)."""

    def prompt_of(self, row: Mapping[str, Any]) -> Asked | None:
        """The turns up to the last question, with the texts that they refer to."""
        turns: list[dict[str, Any]] = []
        for turn in range(_MOST_TURNS):
            if asked := _text(row.get(f"prompt_{turn}")):
                texts = read_list(row.get(f"reference_texts_{turn}")) or []
                given = [_text(text) for text in texts if _text(text)]
                shown = [f"Reference text {n}:\n{text}" for n, text in enumerate(given, start=1)]
                turns.append({"role": "user", "content": "\n\n".join([*shown, asked])})
            if answer := _text(row.get(f"response_{turn}")):
                turns.append({"role": "assistant", "content": answer})
        while turns and turns[-1]["role"] == "assistant":
            turns.pop()
        return turns or None

    def entries_of(self, row: Mapping[str, Any], where: str) -> Sequence[Any]:
        """The criteria under their titles, which is what the published judge is shown."""
        return [
            {**entry, "text": _text(entry.get("title"))} if isinstance(entry, Mapping) else entry
            for entry in super().entries_of(row, where)
        ]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
