"""The interface of a benchmark, and the values that it hands over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

from pydantic import model_validator

from rvpo.benchmarks.grader import Grader
from rvpo.environments import Environment, EnvironmentConfig
from rvpo.episode import Episode
from rvpo.fields import AnswerCounts, PositiveInt, SamplingSection, TemperatureOrZero
from rvpo.sampling import Sampling
from rvpo.thinking import Sees
from rvpo.types import Prompt

T = TypeVar("T")
Row = Mapping[str, Any]
"""One response, JSON-ready: `id`, `completion` and what grading added."""
Pending = Callable[[], Row]
"""Waits for a grade that was begun, and returns it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of a result."""

    value: float | None
    """The mean; None where nothing can be said."""
    count: int
    """Responses, or whatever else it is a mean of."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval; None for fewer than two questions, or where nothing varies."""
    coverage: float | None = None
    """The share of the verdicts below it that are known; None where none can be unknown."""
    possible: tuple[float, float] | None = None
    """Worst and best value that the unknown verdicts leave possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSummary:
    """Result of a benchmark for one model."""

    scores: Mapping[str, Score]
    """Scores by name; the first is the one to quote."""
    curves: tuple[str, ...] = ()
    """The scores to draw over training; the one to quote if none is named."""
    by_question: Mapping[str, float] = field(default_factory=dict)
    """Part of each question in the first score, which is their mean but for clipping: to compare
    models question by question."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Facts, JSON-ready: rates of unreadable answers, and what is missing and why."""

    @property
    def quoted(self) -> str:
        """The name of the score to quote."""
        return next(iter(self.scores))

    @property
    def metrics(self) -> dict[str, float]:
        """The scores that are known, and `NAME/coverage` of those that verdicts are below."""
        scores = self.scores.items()
        known = {name: s.value for name, s in scores if s.value is not None}
        covered = {f"{n}/coverage": s.coverage for n, s in scores if s.coverage is not None}
        return known | covered


class BenchmarkSection(SamplingSection):
    """A benchmark's settings. A subclass has a `name`, and `read`, which gives its questions."""

    name: ClassVar[str]
    """The word that chooses it, and part of the names of its metrics."""
    needs_judge: ClassVar[bool] = False
    """True where a judge grades its answers."""

    limit: PositiveInt | None = None
    """Questions to ask, at equal distances over all of them; all if left out."""
    temperature: TemperatureOrZero = 0.0
    """Temperature of sampling; 0 takes the likeliest token each time."""
    max_completion_tokens: PositiveInt = 1024
    """Tokens after which an answer is cut off."""
    batch: PositiveInt = 64
    """Questions generated at once by each process, and kept when all of them are graded."""

    @property
    def sampling(self) -> Sampling:
        """Way in which its answers are drawn."""
        return self.sampling_over(
            Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens)
        )

    @property
    def asked_judge(self) -> str | None:
        """Name of the judge that it asks; None for the usual one, or for none."""
        return None

    def identity(self, *others: str) -> dict[str, Any]:
        """The settings that answers and grades depend on, by name, JSON-ready.

        Args:
            others: names of settings that are left out beside those of every benchmark.
        """
        unset = {name for name in SamplingSection.model_fields if getattr(self, name) is None}
        return self.model_dump(exclude={"batch", "at_k", *others} | unset)

    def read(self, say: Callable[[str], None]) -> Benchmark:
        """Read the questions, before any model is loaded.

        Args:
            say: told what is being fetched.

        Raises:
            ConfigError, DataError: a file is missing or is not what it should be.
        """
        raise NotImplementedError


class RepeatedSection(BenchmarkSection):
    """Settings of a benchmark whose answers are right or wrong, and may be several to a
    question."""

    repeats: PositiveInt = 1
    """Times that each question is asked."""
    at_k: AnswerCounts = ()
    """Numbers of answers, k, such as [1, 4]: chances that one of k is right (pass@k), and that the
    one which most of them give is (maj@k), from all answers to a question. None are given if left
    out."""

    @model_validator(mode="after")
    def _has_enough_answers(self) -> Self:
        most = max(self.at_k, default=1)
        if most > self.repeats:
            raise ValueError(
                f"at_k: {most} answers cannot be taken from repeats={self.repeats}; make that at "
                f"least {most}, and better twice as many"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """An answer to a question, as far as it is the same as others."""

    question: str
    answer: str | None
    """Text that is equal for equal answers; None where nothing can be read."""
    is_right: bool


@dataclass(frozen=True)
class Benchmark:
    """Questions, how each answer is graded, and what all grades together say.

    A subclass has `grade` and `summarise`.
    """

    config: BenchmarkSection
    prompts: tuple[Prompt, ...] = field(repr=False)
    """A prompt for each response, repeats included, with ids of their own."""

    @property
    def name(self) -> str:
        """Name of its settings."""
        return self.config.name

    @property
    def sees(self) -> Sees:
        """Part of a completion that is graded."""
        return "answer"

    @property
    def world(self) -> EnvironmentConfig | None:
        """Limits of what answers the policy, where questions are conversations; None where each
        has one answer."""
        return None

    def open(self) -> Environment:
        """Worlds that answer the policy, for every question; only where `world` has limits. They
        say nothing to what is no conversation."""
        raise NotImplementedError

    @property
    def later(self) -> tuple[Prompt, ...]:
        """Prompts of the form that further ones of its conversations have, if it has any."""
        return ()

    @property
    def judge_questions(self) -> int:
        """Number of questions that a judge is asked about one answer to each prompt."""
        return 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that scores depend on beside the model, JSON-ready: the questions, and the settings
        but those that say where they are and how many are asked at once. Scores of different
        identities are never compared."""
        content = fingerprint([[p.messages, p.columns] for p in self.prompts])
        settings = self.config.identity("path")
        return {"questions": [p.id for p in self.prompts], "content": content, **settings}

    def with_judge(self, judge: Grader) -> Benchmark:
        """The same with a judge to ask, where it asks one."""
        return self

    def grade(self, prompt: Prompt, completion: str, earlier: Row | None = None) -> Pending:
        """Begin to grade; returns at once.

        Args:
            completion: the part that the benchmark sees.
            earlier: the row of an earlier attempt, of which only the rest is to be determined.
        """
        raise NotImplementedError

    def grade_episode(self, prompt: Prompt, completion: str, episode: Episode) -> Pending:
        """Begin to grade what was played in its world; returns at once.

        Args:
            completion: the part of the last turn that the benchmark sees.
        """
        return self.grade(prompt, completion)

    def ungraded(self, row: Row) -> float:
        """The share of the row's grade that could not be determined; 0 asks nothing again."""
        return 0.0

    def summarise(self, rows: Sequence[Row]) -> BenchmarkSummary:
        """The scores of all rows, one a prompt in their order."""
        raise NotImplementedError

    def vote(self, row: Row) -> Vote:
        """The answer of a row; only of a `RepeatedSection`."""
        raise NotImplementedError


def by_question(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The mean of each question's values, by question."""
    found: dict[str, list[float]] = {}
    for question, value in values:
        found.setdefault(question, []).append(value)
    return {question: sum(each) / len(each) for question, each in found.items()}


def fingerprint(questions: Any) -> str:
    """SHA-256 of JSON-ready questions and answers: the same ids may stand for other ones."""
    return hashlib.sha256(json.dumps(questions, sort_keys=True).encode()).hexdigest()


def evenly(items: Sequence[T], limit: int | None) -> Sequence[T]:
    """So many items at equal distances, in their order; all if there are no more."""
    if limit is None or limit >= len(items):
        return items
    return [items[n * len(items) // limit] for n in range(limit)]
