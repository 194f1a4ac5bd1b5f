"""The benchmarks that the settings name, and the judge that they ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.benchmarks.grader import Grader, GraderAnswer
from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.judge import IDENTITY, JudgeConfig
from rvpo.config.judges import asked
from rvpo.judge.client.server import fingerprint
from rvpo.judge.prompt import PROMPT_VERSION
from rvpo.judge.types import Job, Judge, Question
from rvpo.model_files import resolve_model
from rvpo.types import Message


class ConfiguredJudge(Judge, Protocol):
    """A judge that knows its settings."""

    @property
    def config(self) -> JudgeConfig:
        """Settings of the judge."""
        ...


def read_benchmarks(config: BenchmarksConfig, say: Callable[[str], None]) -> tuple[Benchmark, ...]:
    """Read what each asks, before any model is loaded.

    Args:
        say: told what is being fetched.

    Raises:
        ConfigError, DataError: a file is missing or is not what it should be.
    """
    return tuple(each.read(say) for each in config.chosen().values())


def judged_by(
    benchmarks: Sequence[Benchmark], judges: Mapping[str, ConfiguredJudge]
) -> tuple[Benchmark, ...]:
    """The same, where they ask a judge with one to ask.

    Args:
        judges: those that they name, by their names.
    """

    def with_judge(each: Benchmark) -> Benchmark:
        if not each.config.needs_judge:
            return each
        judge = judges[asked(each.config.asked_judge, judges)]
        return each.with_judge(grader_of(judge.config, judge))

    return tuple(map(with_judge, benchmarks))


def grader_of(config: JudgeConfig, judge: Judge) -> Grader:
    """A judge as benchmarks know it."""

    def ask(
        conversation: Sequence[Message], response: str, questions: Sequence[str]
    ) -> Callable[[], Sequence[GraderAnswer]]:
        turns = tuple((turn["role"], turn["content"]) for turn in conversation)
        asked = tuple(Question("grade", text) for text in questions)
        return judge.submit(Job(conversation=turns, response=response, questions=asked)).result

    return Grader(_identity(config), ask)


def _identity(config: JudgeConfig) -> Mapping[str, Any]:
    """All that the judge's answers depend on; see `Grader.identity`."""
    served = None
    if config.serve is not None:
        weights = fingerprint(resolve_model(config.serve.model), config.serve.precision)
        served = [config.serve.model, weights]
    return {
        **config.model_dump(mode="json", include=set(IDENTITY)),
        "models": sorted({each.model for each in config.endpoints if each.model}),
        "served": served,
        "prompt": PROMPT_VERSION,
    }
