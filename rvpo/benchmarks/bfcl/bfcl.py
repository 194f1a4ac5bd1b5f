"""BFCL's single-turn questions as a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import field_validator, model_validator

from rvpo.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSection,
    BenchmarkSummary,
    Pending,
    Score,
    evenly,
    fingerprint,
)
from rvpo.benchmarks.benchmark import Row as Graded
from rvpo.benchmarks.bfcl.check import check, check_relevance
from rvpo.benchmarks.bfcl.decode import Decoded, decode_toolrl, decode_tools
from rvpo.benchmarks.bfcl.distribution import PINS, Version, Wheel, find
from rvpo.benchmarks.bfcl.prompts import ToolRl, with_tools
from rvpo.benchmarks.bfcl.rows import SINGLE_TURN, BfclRow, load
from rvpo.benchmarks.bfcl.schema import Tools, tools
from rvpo.benchmarks.bfcl.score import SIZES, CategoryTally, scores
from rvpo.benchmarks.statistics import mean_interval
from rvpo.errors import ConfigError
from rvpo.fields import InputFile
from rvpo.thinking import NO_MODEL, Sees
from rvpo.types import Prompt

NOT_RUN: Final[Mapping[str, str]] = {
    "v3": "multi-turn categories need bfcl-eval's simulated services, which are not included",
    "v4": "multi-turn and agentic categories need bfcl-eval's simulated services, which are not "
    "included",
}


class BfclConfig(BenchmarkSection):
    """The Berkeley Function Calling Leaderboard, single-turn (gorilla.cs.berkeley.edu)."""

    name: ClassVar[str] = "bfcl"

    version: Version = "v3"
    """Version of the benchmark: RVPO, GDPO and ToolRL report v3. Scores of the two are not
    comparable."""
    path: InputFile | None = None
    """A wheel of `bfcl-eval` of that version, or its folder; fetched once if left out."""
    categories: tuple[str, ...] = ()
    """Categories, such as simple_python or live_multiple; all if none is named."""
    format: Literal["tools", "toolrl"] = "tools"
    """Functions as tools of the model's chat template, or in a system prompt as ToolRL has them."""
    system_prompt: InputFile | None = None
    """System prompt of `toolrl`: a text with <<tools>> in place of ours, such as that of its
    training data."""
    user_prompt: InputFile | None = None
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

    def read(self, say: Callable[[str], None]) -> Bfcl:
        """See `BenchmarkSection.read`: the wheel that holds the questions is fetched if it is not
        there."""
        say(f"bfcl: reading bfcl-eval {PINS[self.version].release}")
        wheel = find(self.version, self.path)
        if not wheel.is_pinned:
            say(f"bfcl: {wheel.path} is not the published wheel; scores may not be comparable")
        every = load(wheel, self.categories or SINGLE_TURN)
        _check_sizes(every, wheel)
        rows = evenly(every, self.limit)
        shown = {row.id: tools(row.functions, row.language) for row in rows}
        toolrl = ToolRl.of(self.system_prompt, self.user_prompt)
        return Bfcl(
            self,
            tuple(
                toolrl.prompt(row) if self.format == "toolrl" else with_tools(row, shown[row.id])
                for row in rows
            ),
            {row.id: row for row in rows},
            shown,
            wheel.is_pinned,
            toolrl.sha256 if self.format == "toolrl" else None,
        )


@dataclass(frozen=True)
class Bfcl(Benchmark):
    """Every question of the categories, asked once."""

    config: BfclConfig
    rows: Mapping[str, BfclRow] = field(repr=False)
    shown: Mapping[str, Tools] = field(repr=False)
    """The functions of each row as its model is shown them."""
    is_published: bool = True
    """True where the rows come from the wheel that was released."""
    template: str | None = None
    """SHA-256 of ToolRL's texts."""

    @property
    def sees(self) -> Sees:
        """See `Benchmark.sees`: thoughts are part of ToolRL's form."""
        return "everything" if self.config.format == "toolrl" else "answer"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Benchmark.identity`."""
        prompts = {"system_prompt", "user_prompt"}
        settings = self.config.model_dump(exclude={"path", "batch", *prompts})
        return {
            "release": PINS[self.config.version].release,
            "is_published": self.is_published,
            "content": fingerprint([asdict(row) for row in self.rows.values()]),
            "template": self.template,
            **settings,
        }

    def grade(self, prompt: Prompt, completion: str, earlier: Graded | None = None) -> Pending:
        """See `Benchmark.grade`: nothing is waited for."""
        row = self.rows[prompt.id]
        decoded = self._decode(row, completion)
        calls = list(decoded.calls)
        if row.category.endswith("relevance"):
            verdict = check_relevance(calls, row.category)
        else:
            verdict = check(row.functions, calls, row.ground_truth, row.language, row.category)
        graded = {
            "category": row.category,
            "calls": calls,
            "is_well_formed": decoded.is_well_formed,
            "valid": verdict.valid,
            "reason": verdict.reason,
            "detail": verdict.detail,
        }
        return lambda: graded

    def summarise(self, rows: Sequence[Graded]) -> BenchmarkSummary:
        """The share of all questions that were asked, of each category, and the leaderboard's own
        scores where all that they need was run. Beside them the share of answers in the form that
        was asked for, and of those that call something: where no call is wanted, an answer that
        nobody can read is right."""
        categories = dict.fromkeys(row["category"] for row in rows)
        by = {c: [row for row in rows if row["category"] == c] for c in categories}
        found = {"accuracy": _share(rows, "valid")}
        found |= {name: _share(own, "valid") for name, own in by.items()}
        official, missing = self._official(by)
        found |= official
        found["format"] = _share(rows, "is_well_formed")
        found |= {
            f"format/{name}": _share(own, "is_well_formed")
            for name, own in by.items()
            if name.endswith("relevance")
        }
        found["called"] = _share(rows, "calls")
        return BenchmarkSummary(
            scores=found,
            curves=("accuracy", *(n for n in ("non_live", "live") if n in found), "format"),
            by_question={row["id"]: float(row["valid"]) for row in rows},
            about={
                "release": PINS[self.config.version].release,
                "format": self.config.format,
                "not run": NOT_RUN[self.config.version],
                "without a value": ", ".join(missing),
                "because": missing,
            },
        )

    def _official(
        self, by: Mapping[str, Sequence[Graded]]
    ) -> tuple[dict[str, Score], dict[str, list[str]]]:
        """The leaderboard's scores that have a value, and of the others what they miss."""
        tallies = {
            name: CategoryTally(sum(row["valid"] for row in own), len(own))
            for name, own in by.items()
        }
        every = scores(self.config.version, tallies)
        known = {
            name: Score(value=score.value, count=score.rows)
            for name, score in every.items()
            if score.value is not None
        }
        missing = {name: list(each.missing) for name, each in every.items() if each.value is None}
        return known, missing

    def _decode(self, row: BfclRow, completion: str) -> Decoded:
        if self.config.format == "toolrl":
            # The form is that of everything; a call that is only thought of is none.
            form = decode_toolrl(completion).is_well_formed
            return Decoded(decode_toolrl(NO_MODEL.split(completion).answer).calls, form)
        return decode_tools(completion, self.shown[row.id].own_name)


def _check_sizes(rows: Sequence[BfclRow], wheel: Wheel) -> None:
    """No score is defined over more rows than a version has; fewer leave it without a value."""
    for category, count in Counter(row.category for row in rows).items():
        size = SIZES[wheel.version][category]
        if count > size:
            raise ConfigError(
                f"{wheel.path}: {category} has {count} rows, and BFCL {wheel.version} has {size}; "
                "use the published wheel"
            )


def _share(rows: Sequence[Graded], key: str) -> Score:
    values = [float(bool(row[key])) for row in rows]
    return Score(
        value=sum(values) / len(values),
        count=len(values),
        interval=mean_interval(values, [row["id"] for row in rows]),
    )
