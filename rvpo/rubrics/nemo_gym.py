"""Rows of NeMo-Gym's environments that bring a rubric (github.com/NVIDIA-NeMo/Gym).

A row has `responses_create_params`, the request to the model in the form of OpenAI's Responses API
with its `input` and `tools`. The rubric is a column, JSON text in `rubric_json`, or hides in
metadata; its criteria are sentences, or questions with the answer that passes (YES or NO).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rvpo.files.literal import inside
from rvpo.rubrics.conversation import Asked
from rvpo.rubrics.table import TableSource


class NemoGymSource(TableSource):
    """NeMo-Gym."""

    columns: ClassVar[tuple[str, ...]] = ("responses_create_params", "rubric")
    prompts: ClassVar[tuple[str, ...]] = (
        "responses_create_params",
        "responses_create_params.input",
        "prompt",
        "question",
        "responses_create_params.metadata.prompt",
    )
    criteria: ClassVar[tuple[str, ...]] = (
        "rubric",
        "rubrics",
        "rubric_json",
        "verifier_metadata.rubric",
        "metadata.rubric",
        "responses_create_params.metadata.rubric_json",
    )
    references: ClassVar[tuple[str, ...]] = ("reference_response", "expected_answer")
    ids: ClassVar[tuple[str, ...]] = ("uuid", "id", "task_id")

    format: Literal["nemo_gym"]
    """NeMo-Gym (responses_create_params, rubric)."""

    def prompt_of(self, row: Mapping[str, Any]) -> Asked | None:
        """The prompt of a raw row; its tools are a column of their own."""
        found = super().prompt_of(row)
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items() if name != "tools"}

    def others(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The tools that the model is shown."""
        return {"tools": inside(row, "responses_create_params.tools")}
