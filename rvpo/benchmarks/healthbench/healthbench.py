"""HealthBench as a benchmark, graded by a judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from rvpo.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSection,
    BenchmarkSummary,
    Pending,
    Row,
    by_question,
    evenly,
    fingerprint,
)
from rvpo.benchmarks.grader import Grader, GraderAnswer
from rvpo.benchmarks.healthbench.records import Record, read_records
from rvpo.benchmarks.healthbench.score import (
    LENGTH_PENALTIES,
    Graded,
    bootstrap_std,
    response_score,
    scores,
)
from rvpo.benchmarks.healthbench.template import Template
from rvpo.errors import RewardError
from rvpo.fields import InputFile, NonNegativeFloat, PositiveInt
from rvpo.types import Prompt

_USAGE: Final = ("requests", "input_tokens", "output_tokens", "cost")
"""Names of what the kept verdicts took, the cost in USD; those of the cache took nothing."""


def _set_or_number(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:  # one for each member of the union
        *others, last = LENGTH_PENALTIES
        raise ValueError(
            f"must be a number from 0 on, or {', '.join(others)} or {last}, got {value!r:.60}"
        ) from None


class HealthBenchConfig(BenchmarkSection):
    """HealthBench (arXiv:2505.08775): criteria of physicians, judged one by one."""

    name: ClassVar[str] = "healthbench"
    needs_judge: ClassVar[bool] = True

    path: str
    """A .jsonl file of the full, hard or consensus set, here or on the Hub
    (openai/healthbench/FILE.jsonl), or a Hub dataset id."""
    split: str = "test"
    """Split of a Hub dataset; files have one only."""
    repeats: PositiveInt = 1
    """Responses to each conversation."""
    judge: str | None = None
    """Name of the judge that grades, where there are several; the one of the section `judge` if
    left out."""
    grader_template: InputFile | None = None
    """A text with <<conversation>> and <<rubric_item>> in place of ours, such as the reference's
    own. Scores under different templates are not comparable."""
    length_penalty: Annotated[
        Literal["full", "hard", "consensus", "professional"] | NonNegativeFloat,
        WrapValidator(_set_or_number),
    ] = 0.0
    """Points of a score, per 500 characters of a response above 2,000, that are taken from it, and
    given to it below that: a number, or the name of a set for what the reference takes there. Then
    there is `overall_length_adjusted` beside `overall`."""

    @property
    def asked_judge(self) -> str | None:
        """See `BenchmarkSection.asked_judge`."""
        return self.judge

    def read(self, say: Callable[[str], None]) -> HealthBench:
        """See `BenchmarkSection.read`: the records and the template."""
        template = Template.read(self.grader_template)
        records = evenly(read_records(self.path, self.split), self.limit)
        return HealthBench(
            self,
            tuple(
                Prompt(
                    id=f"{record.id}/{repeat}",
                    messages=record.messages,
                    columns={"record": record.id, "repeat": repeat, "canary": record.canary},
                )
                for record in records
                for repeat in range(self.repeats)
            ),
            template,
            {record.id: record for record in records},
        )


@dataclass(frozen=True)
class HealthBench(Benchmark):
    """Every conversation, `repeats` times; one call to the judge for each criterion."""

    config: HealthBenchConfig
    template: Template = field(repr=False)
    records: Mapping[str, Record] = field(repr=False)
    judge: Grader | None = None
    """None until it answers."""

    @property
    def judge_questions(self) -> int:
        """See `Benchmark.judge_questions`: the criteria."""
        return sum(len(self.records[p.columns["record"]].items) for p in self.prompts)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Benchmark.identity`: grader and template are part of it."""
        own = ("path", "split", "grader_template", "judge", "length_penalty")
        settings = self.config.identity(*own)
        records = [asdict(record) for record in self.records.values()]
        return {
            "grader": self.grader,
            "records": list(self.records),
            "content": fingerprint(records),
            **settings,
        }

    @property
    def grader(self) -> Mapping[str, Any]:
        """All that verdicts depend on."""
        return {**self._asked.identity, "template": self.template.sha256}

    def with_judge(self, judge: Grader) -> HealthBench:
        """See `Benchmark.with_judge`."""
        return replace(self, judge=judge)

    def grade(self, prompt: Prompt, completion: str, earlier: Row | None = None) -> Pending:
        """See `Benchmark.grade`: one question for each criterion, all sent at once."""
        record = self.records[prompt.columns["record"]]
        verdicts = enumerate([] if earlier is None else earlier["verdicts"])
        known = {n: verdict for n, verdict in verdicts if verdict["met"] is not None}
        unknown = [n for n in range(len(record.items)) if n not in known]
        questions = [
            self.template.filled(record.messages, completion, str(record.items[n])) for n in unknown
        ]
        answers = self._asked.ask(record.messages, completion, questions)

        def graded() -> Row:
            found = known | dict(zip(unknown, map(_verdict, answers()), strict=True))
            return {**prompt.columns, "verdicts": [found[n] for n in range(len(record.items))]}

        return graded

    @property
    def _asked(self) -> Grader:
        if self.judge is None:
            raise RewardError("healthbench: needs a judge, and there is none")
        return self.judge

    def ungraded(self, row: Row) -> float:
        """See `Benchmark.ungraded`: what failed is asked again by the next start."""
        unknown = [verdict["met"] is None for verdict in row["verdicts"]]
        return sum(unknown) / len(unknown) if unknown else 0.0

    def summarise(self, rows: Sequence[Row]) -> BenchmarkSummary:
        """See `rvpo.benchmarks.healthbench.score`."""
        graded = [
            Graded(
                self.records[row["record"]],
                tuple(v["met"] for v in row["verdicts"]),
                len(row.get("answer", row["completion"])),
            )
            for row in rows
        ]
        failures = Counter(v["failure"] for row in rows for v in row["verdicts"] if v["failure"])
        given = self.config.length_penalty
        penalty = LENGTH_PENALTIES[given] if isinstance(given, str) else given
        found = scores(graded, penalty)
        return BenchmarkSummary(
            scores=found,
            curves=(
                *(n for n in found if n.startswith(("overall", "axis/"))),
                "overall/coverage",
            ),
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
                **({"length penalty": penalty} if penalty else {}),
                "grader": dict(self.grader),
            },
        )


def _verdict(answer: GraderAnswer) -> dict[str, Any]:
    return {
        "met": None if answer.value is None else bool(answer.value),
        "explanation": answer.reason,
        "failure": answer.failure,
        "usage": {name: getattr(answer.usage, name) for name in _USAGE},
    }
