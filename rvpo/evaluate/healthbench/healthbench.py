"""HealthBench as a benchmark, with the judge of the settings as its grader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rvpo.config.benchmarks import HealthBenchConfig
from rvpo.config.judge import IDENTITY, JudgeConfig
from rvpo.errors import RewardError
from rvpo.evaluate.benchmark import BenchmarkSummary, Pending, Row, by_question, evenly, fingerprint
from rvpo.evaluate.healthbench.records import Record, read_records
from rvpo.evaluate.healthbench.score import (
    Graded,
    bootstrap_std,
    response_score,
    scores,
)
from rvpo.evaluate.healthbench.template import Template
from rvpo.judge.client.server import fingerprint as weights
from rvpo.judge.prompt import PROMPT_VERSION
from rvpo.judge.types import Answer, Job, Judge, Question
from rvpo.model_files import resolve_model
from rvpo.thinking import Sees
from rvpo.types import Prompt

_USAGE: Final = ("requests", "input_tokens", "output_tokens", "cost")
"""Names of what the kept verdicts took, the cost in USD; those of the cache took nothing."""


@dataclass(frozen=True)
class HealthBench:
    """Every conversation, `repeats` times; one call to the judge for each criterion."""

    config: HealthBenchConfig
    grader: Mapping[str, Any]
    template: Template = field(repr=False)
    records: Mapping[str, Record] = field(repr=False)
    prompts: tuple[Prompt, ...] = field(repr=False)
    judge: Judge | None = field(default=None, repr=False)
    """The judge; None until it answers."""

    name: str = "healthbench"
    sees: Sees = "answer"

    @staticmethod
    def of(config: HealthBenchConfig, judge: JudgeConfig) -> HealthBench:
        """Read the records and the template.

        Raises:
            DataError, ConfigError: see `read_records` and `Template.read`.
        """
        template = Template.read(config.grader_template)
        records = evenly(read_records(config.path, config.split), config.limit)
        served = None
        if judge.serve is not None:
            served = [judge.serve.model, weights(resolve_model(judge.serve.model))]
        return HealthBench(
            config,
            {
                **judge.model_dump(mode="json", include=set(IDENTITY)),
                "models": sorted({each.model for each in judge.endpoints if each.model}),
                "served": served,
                "prompt": PROMPT_VERSION,
                "template": template.sha256,
            },
            template,
            {record.id: record for record in records},
            tuple(
                Prompt(
                    id=f"{record.id}/{repeat}",
                    messages=record.messages,
                    columns={"record": record.id, "repeat": repeat, "canary": record.canary},
                )
                for record in records
                for repeat in range(config.repeats)
            ),
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Benchmark.identity`: grader and template are part of it."""
        settings = self.config.model_dump(exclude={"path", "split", "batch", "grader_template"})
        records = [asdict(record) for record in self.records.values()]
        return {
            "grader": self.grader,
            "records": list(self.records),
            "content": fingerprint(records),
            **settings,
        }

    def grade(self, prompt: Prompt, completion: str, earlier: Row | None = None) -> Pending:
        """See `Benchmark.grade`: one question for each criterion, all sent at once."""
        record = self.records[prompt.columns["record"]]
        verdicts = enumerate([] if earlier is None else earlier["verdicts"])
        known = {n: verdict for n, verdict in verdicts if verdict["met"] is not None}
        unknown = [n for n in range(len(record.items)) if n not in known]
        job = Job(
            conversation=tuple((turn["role"], turn["content"]) for turn in record.messages),
            response=completion,
            questions=tuple(
                Question("grade", self.template.filled(record.messages, completion, item))
                for item in (str(record.items[n]) for n in unknown)
            ),
        )
        if self.judge is None:
            raise RewardError("healthbench: needs a judge, and there is none")
        answers = self.judge.submit(job)

        def graded() -> Row:
            found = known | dict(zip(unknown, map(_verdict, answers.result()), strict=True))
            return {**prompt.columns, "verdicts": [found[n] for n in range(len(record.items))]}

        return graded

    def ungraded(self, row: Row) -> float:
        """See `Benchmark.ungraded`: what failed is asked again by the next start."""
        unknown = [verdict["met"] is None for verdict in row["verdicts"]]
        return sum(unknown) / len(unknown) if unknown else 0.0

    def summarise(self, rows: Sequence[Row]) -> BenchmarkSummary:
        """See `rvpo.evaluate.healthbench.score`."""
        graded = [
            Graded(self.records[row["record"]], tuple(v["met"] for v in row["verdicts"]))
            for row in rows
        ]
        failures = Counter(v["failure"] for row in rows for v in row["verdicts"] if v["failure"])
        found = scores(graded)
        return BenchmarkSummary(
            scores=found,
            curves=("overall", *(n for n in found if n.startswith("axis/")), "overall/coverage"),
            by_question=by_question(
                [
                    (each.record.id, value)
                    for each in graded
                    if (value := response_score(each.record.items, each.met)) is not None
                ]
            ),
            about={
                "judge": {
                    name: sum(v["usage"][name] for row in rows for v in row["verdicts"])
                    for name in _USAGE
                },
                "failed verdicts": dict(failures),
                "bootstrap_std": bootstrap_std(graded),
                "grader": dict(self.grader),
            },
        )


def _verdict(answer: Answer) -> dict[str, Any]:
    return {
        "met": None if answer.value is None else bool(answer.value),
        "explanation": answer.reason,
        "failure": answer.failure,
        "usage": {name: getattr(answer.usage, name) for name in _USAGE},
    }
