"""The way in which completions are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Way in which completions are drawn, by the settings of `fields.SamplingSection`; what is left
    out leaves every token as likely as the model has it.

    As in vLLM penalties come first, then temperature, `min_p`, `top_k` and `top_p`, each of the
    tokens that those before it have left.
    """

    temperature: float
    """Temperature of sampling; 0 takes the likeliest token each time."""
    max_completion_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    structured: Mapping[str, Any] | None = None
    """A value for `regex`, `json_schema` or `choice`."""

    @property
    def truncates(self) -> bool:
        """True where some tokens cannot be drawn."""
        return bool(self.top_p < 1 or self.top_k or self.min_p or self.structured)
