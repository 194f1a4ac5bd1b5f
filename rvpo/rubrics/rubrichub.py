"""Rows of RubricHub (arXiv:2601.08430; sojuL/RubricHub_v1), in each of its forms.

Rows to train on (`RuRL`) have chat messages in `prompt` and criteria of up to 10 points in
`Rubrics`, which `reward_model` repeats; the exported form has `question` and `rubrics`; answered
rows (`sft_RuFT`) have `query`. Criteria whose verifier is a rule are names of checks such as
"punctuation:no_comma", which no judge can read.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.settling import Convention
from rvpo.rubrics.table import TableSource


class RubricHubSource(TableSource):
    """RubricHub."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "Rubrics (or question, rubrics)")
    prompts: ClassVar[tuple[str, ...]] = ("prompt", "question", "query", "messages")
    criteria: ClassVar[tuple[str, ...]] = (
        "Rubrics",
        "rubrics",
        "reward_model.rubrics",
        "extra_info.reward_model.rubrics",
    )
    kept: ClassVar[tuple[str, ...]] = ("ability",)
    convention: ClassVar[Convention] = Convention(sized=True, full=10.0)

    format: Literal["rubrichub"]
    """RubricHub (prompt, Rubrics; question, rubrics; or reward_model.rubrics)."""
