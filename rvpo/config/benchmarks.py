"""The settings of benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, PlainSerializer, field_validator, model_validator

from rvpo.fields import SMALLEST_TEMPERATURE, NonNegativeFloat, NonNegativeInt, PositiveInt, Section
from rvpo.types import Sampling

File = Annotated[Path, PlainSerializer(str)]


def _is_none_or_some(value: float) -> float:
    if 0 < value < SMALLEST_TEMPERATURE:
        raise ValueError(f"must be 0, or at least {SMALLEST_TEMPERATURE}, got {value}")
    return value


class AnyBenchmarkConfig(Section):
    limit: PositiveInt | None = None
    """Questions to ask, at equal distances over all of them; all if left out."""
    temperature: Annotated[NonNegativeFloat, AfterValidator(_is_none_or_some)] = 0.0
    """Temperature of sampling; 0 takes the likeliest token each time."""
    max_completion_tokens: PositiveInt = 1024
    """Tokens after which an answer is cut off."""
    batch: PositiveInt = 64
    """Questions generated at once by each process, and kept when all of them are graded."""

    @property
    def sampling(self) -> Sampling:
        """Temperature and length."""
        return Sampling(
            temperature=self.temperature, max_completion_tokens=self.max_completion_tokens
        )


class GpqaConfig(AnyBenchmarkConfig):
    """GPQA (arXiv:2311.12022): multiple choice, four options."""

    path: str
    """gpqa_diamond.csv, or another file with its columns."""
    repeats: PositiveInt = 4
    """Times that each question is asked, each time with its options in another order."""
    seed: NonNegativeInt = 0
    """Seed of the order of the options. It is not that of a run: all runs sit the same exam."""
    extractor: Literal["simple_evals", "robust"] = "simple_evals"
    """Reading of the answer that gives `accuracy`; both are reported."""


class HealthBenchConfig(AnyBenchmarkConfig):
    """HealthBench (arXiv:2505.08775): criteria of physicians, judged one by one."""

    path: str
    """A .jsonl file of the full, hard or consensus set, here or on the Hub
    (openai/healthbench/FILE.jsonl), or a Hub dataset id."""
    split: str = "test"
    """Split of a Hub dataset; files have one only."""
    repeats: PositiveInt = 1
    """Responses to each conversation."""
    grader_template: File | None = None
    """A text with <<conversation>> and <<rubric_item>> in place of ours, such as the reference's
    own. Scores under different templates are not comparable."""


class BfclConfig(AnyBenchmarkConfig):
    """The Berkeley Function Calling Leaderboard, single-turn (gorilla.cs.berkeley.edu)."""

    version: Literal["v3", "v4"] = "v3"
    """Version of the benchmark: RVPO, GDPO and ToolRL report v3. Scores of the two are not
    comparable."""
    path: File | None = None
    """A wheel of `bfcl-eval` of that version, or its folder; fetched once if left out."""
    categories: tuple[str, ...] = ()
    """Categories, such as simple_python or live_multiple; all if none is named."""
    format: Literal["tools", "toolrl"] = "tools"
    """Functions as tools of the model's chat template, or in a system prompt as ToolRL has them."""
    system_prompt: File | None = None
    """System prompt of `toolrl`: a text with <<tools>> in place of ours, such as that of its
    training data."""
    user_prompt: File | None = None
    """User prompt of `toolrl`: a text with <<request>> in place of ours, for each turn of the
    user."""

    @field_validator("categories")
    @classmethod
    def _differ(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name, count in Counter(categories).items() if count > 1]
        if twice:
            raise ValueError(f"names {twice[0]} twice; name each category once")
        return categories

    @model_validator(mode="after")
    def _has_texts_of_its_form(self) -> Self:
        given = next((n for n in ("system_prompt", "user_prompt") if getattr(self, n)), None)
        if given is not None and self.format == "tools":
            raise ValueError(f"{given} belongs to format=toolrl; add that, or leave {given} out")
        return self


class BenchmarksConfig(Section):
    """Benchmarks to run, each with its own settings."""

    gpqa: GpqaConfig | None = None
    """GPQA, multiple choice."""
    healthbench: HealthBenchConfig | None = None
    """HealthBench, judged criteria."""
    bfcl: BfclConfig | None = None
    """BFCL, function calls."""

    def chosen(self) -> dict[str, GpqaConfig | HealthBenchConfig | BfclConfig]:
        """The settings of each benchmark that has some, by its name."""
        return dict(self._set())

    def _set(self) -> Iterator[tuple[str, GpqaConfig | HealthBenchConfig | BfclConfig]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                yield name, value
