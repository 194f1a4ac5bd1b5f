"""BFCL's questions as a benchmark: those of one turn, and conversations of several."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import field_validator, model_validator

from rvpo.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSummary,
    Pending,
    RepeatedSection,
    Score,
    Vote,
    by_question,
    evenly,
    fingerprint,
)
from rvpo.benchmarks.benchmark import Row as Graded
from rvpo.benchmarks.bfcl.check import check, check_relevance
from rvpo.benchmarks.bfcl.decode import Decoded, decode_toolrl, decode_tools, storable
from rvpo.benchmarks.bfcl.distribution import PINS, Version, Wheel, find
from rvpo.benchmarks.bfcl.multi_turn import MultiTurnSession, later, opening
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow, load_multi_turn
from rvpo.benchmarks.bfcl.prompts import ToolRl, with_tools
from rvpo.benchmarks.bfcl.rows import MULTI_TURN, SINGLE_TURN, BfclRow, load
from rvpo.benchmarks.bfcl.schema import Tools, tools
from rvpo.benchmarks.bfcl.score import SIZES, CategoryTally, scores
from rvpo.benchmarks.bfcl.service_host import check_services
from rvpo.benchmarks.bfcl.world import BfclWorld, limits
from rvpo.benchmarks.statistics import mean_interval
from rvpo.environments import EnvironmentConfig
from rvpo.episode import Episode
from rvpo.errors import ConfigError
from rvpo.fields import InputFile
from rvpo.thinking import NO_MODEL, Sees
from rvpo.types import Prompt

_LACKING: Final[Mapping[str, str]] = {
    "v3": "",
    "v4": "agentic categories, which need services that are not included",
}
"""Categories of a version that nobody can run."""

AnyRow = BfclRow | MultiTurnRow


class BfclConfig(RepeatedSection):
    """The Berkeley Function Calling Leaderboard (gorilla.cs.berkeley.edu)."""

    name: ClassVar[str] = "bfcl"

    version: Version = "v3"
    """Version of the benchmark: RVPO, GDPO and ToolRL report v3. Scores of the two are not
    comparable."""
    path: InputFile | None = None
    """A wheel of `bfcl-eval` of that version, or its folder; fetched once if left out."""
    categories: tuple[str, ...] = ()
    """Categories, such as simple_python, live_multiple or multi_turn_base; all of one turn if none
    is named."""
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
        several = next((name for name in self.categories if name in MULTI_TURN), None)
        if several is not None and self.format == "toolrl":
            raise ValueError(
                f"categories: {several} has no form in format=toolrl; give format=tools, or "
                "categories of one turn"
            )
        return self

    @model_validator(mode="after")
    def _draws_several(self) -> Self:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError(
                f"repeats: with temperature=0 all {self.repeats} answers to a question are the "
                "same; give a temperature above 0, such as 0.7, or leave repeats out"
            )
        return self

    def read(self, say: Callable[[str], None]) -> Bfcl:
        """See `BenchmarkSection.read`: the wheel that holds the questions is fetched if it is not
        there."""
        say(f"bfcl: reading bfcl-eval {PINS[self.version].release}")
        wheel = find(self.version, self.path)
        if not wheel.is_pinned:
            say(f"bfcl: {wheel.path} is not the published wheel; scores may not be comparable")
        names = self.categories or SINGLE_TURN
        every: list[AnyRow] = [
            *load(wheel, [name for name in names if name not in MULTI_TURN]),
            *load_multi_turn(wheel, [name for name in names if name in MULTI_TURN]),
        ]
        _check_sizes(every, wheel)
        if any(isinstance(row, MultiTurnRow) for row in every):
            check_services(wheel)
        rows = evenly(every, self.limit)
        toolrl = ToolRl.of(self.system_prompt, self.user_prompt)
        shown = {
            row.id: tools(row.functions, row.language) for row in rows if isinstance(row, BfclRow)
        }
        prompts = {row.id: self._prompt(row, shown, toolrl) for row in rows}
        asked = [(row, each) for row in rows for each in self._repeated(prompts[row.id])]
        return Bfcl(
            self,
            tuple(prompt for _, prompt in asked),
            {prompt.id: row for row, prompt in asked},
            shown,
            wheel,
            toolrl.sha256 if self.format == "toolrl" else None,
        )

    def _prompt(self, row: AnyRow, shown: Mapping[str, Tools], toolrl: ToolRl) -> Prompt:
        if isinstance(row, MultiTurnRow):
            return opening(row)
        return toolrl.prompt(row) if self.format == "toolrl" else with_tools(row, shown[row.id])

    def _repeated(self, prompt: Prompt) -> list[Prompt]:
        if self.repeats == 1:
            return [prompt]
        return [replace(prompt, id=f"{prompt.id}/{repeat}") for repeat in range(self.repeats)]


@dataclass(frozen=True)
class Bfcl(Benchmark):
    """Every question of the categories, `repeats` times."""

    config: BfclConfig
    rows: Mapping[str, AnyRow] = field(repr=False)
    """The row of each prompt."""
    shown: Mapping[str, Tools] = field(repr=False)
    """The functions of each row of one turn as its model is shown them."""
    wheel: Wheel = field(repr=False)
    template: str | None = None
    """SHA-256 of ToolRL's texts."""

    @property
    def sees(self) -> Sees:
        """See `Benchmark.sees`: thoughts are part of ToolRL's form."""
        return "everything" if self.config.format == "toolrl" else "answer"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Benchmark.identity`."""
        once = ("repeats",) if self.config.repeats == 1 else ()
        settings = self.config.identity("path", "system_prompt", "user_prompt", *once)
        rows = {row.id: row for row in self.rows.values()}
        return {
            "release": PINS[self.config.version].release,
            "is_published": self.wheel.is_pinned,
            "content": fingerprint([asdict(row) for row in rows.values()]),
            "template": self.template,
            **settings,
        }

    @property
    def _conversations(self) -> dict[str, MultiTurnRow]:
        return {id: row for id, row in self.rows.items() if isinstance(row, MultiTurnRow)}

    @property
    def world(self) -> EnvironmentConfig | None:
        """See `Benchmark.world`."""
        rows = list(self._conversations.values())
        return limits(rows) if rows else None

    def open(self) -> BfclWorld:
        """See `Benchmark.open`: each conversation has the services that its turns speak of."""
        return BfclWorld(self._conversations, self.wheel)

    @property
    def later(self) -> tuple[Prompt, ...]:
        """See `Benchmark.later`: a call, its answer and a further turn."""
        return tuple(map(later, list(self._conversations.values())[:1]))

    def grade_episode(self, prompt: Prompt, completion: str, episode: Episode) -> Pending:
        """See `Benchmark.grade_episode`."""
        if isinstance(self.rows[prompt.id], BfclRow):
            return self.grade(prompt, completion)
        played: MultiTurnSession = episode.state
        return partial(played.grade, episode)

    def ungraded(self, row: Graded) -> float:
        """See `Benchmark.ungraded`: a conversation whose services failed."""
        return float(row["valid"] is None)

    def grade(self, prompt: Prompt, completion: str, earlier: Graded | None = None) -> Pending:
        """See `Benchmark.grade`: nothing is waited for."""
        row = self.rows[prompt.id]
        assert isinstance(row, BfclRow)
        decoded = self._decode(row, completion)
        calls = list(decoded.calls)
        if row.category.endswith("relevance"):
            verdict = check_relevance(calls, row.category)
        else:
            verdict = check(row.functions, calls, row.ground_truth, row.language, row.category)
        graded = {
            "question": row.id,
            "category": row.category,
            "calls": storable(calls),
            "is_well_formed": decoded.is_well_formed,
            "valid": verdict.valid,
            "reason": verdict.reason,
            "detail": verdict.detail,
        }
        return lambda: graded

    def vote(self, row: Graded) -> Vote:
        """See `Benchmark.vote`: the calls, whatever the text around them."""
        calls = json.dumps(row["calls"], sort_keys=True)
        return Vote(question=_question(row), answer=calls, is_right=row["valid"])

    def summarise(self, rows: Sequence[Graded]) -> BenchmarkSummary:
        """The share of all questions that were asked, of each category, and the leaderboard's own
        scores where all that they need was run. Beside them the share of answers in the form that
        was asked for, and of those that call something: where no call is wanted, an answer that
        nobody can read is right."""
        categories = dict.fromkeys(row["category"] for row in rows)
        by = {c: [row for row in rows if row["category"] == c] for c in categories}
        known = _known(rows)
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
            by_question=by_question([(_question(row), float(row["valid"])) for row in known]),
            about={
                "release": PINS[self.config.version].release,
                "format": self.config.format,
                "not run": self._not_run(),
                "without a value": ", ".join(missing),
                "because": missing,
            },
        )

    def _not_run(self) -> str:
        unnamed = "" if self._conversations else "multi-turn categories, which categories may name"
        return "; ".join(filter(None, (unnamed, _LACKING[self.config.version])))

    def _official(
        self, by: Mapping[str, Sequence[Graded]]
    ) -> tuple[dict[str, Score], dict[str, list[str]]]:
        """The leaderboard's scores that have a value, and of the others what they miss."""
        tallies = {
            name: CategoryTally(sum(right.values()), len(right))
            for name, own in by.items()
            for right in [
                by_question([(_question(row), float(row["valid"])) for row in _known(own)])
            ]
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


def _check_sizes(rows: Sequence[AnyRow], wheel: Wheel) -> None:
    """No score is defined over more rows than a version has; fewer leave it without a value."""
    for category, count in Counter(row.category for row in rows).items():
        size = SIZES[wheel.version][category]
        if count > size:
            raise ConfigError(
                f"{wheel.path}: {category} has {count} rows, and BFCL {wheel.version} has {size}; "
                "use the published wheel"
            )


def _known(rows: Sequence[Graded]) -> list[Graded]:
    """The rows that have a verdict."""
    return [row for row in rows if row["valid"] is not None]


def _share(rows: Sequence[Graded], key: str) -> Score:
    known = _known(rows)
    values = [float(bool(row[key])) for row in known]
    lost = len(rows) - len(known)
    right = sum(values)
    return Score(
        value=right / len(values) if values else None,
        count=len(values),
        interval=mean_interval(values, [_question(row) for row in known]) if values else None,
        coverage=len(known) / len(rows) if lost else None,
        possible=(right / len(rows), (right + lost) / len(rows)) if lost else None,
    )


def _question(row: Graded) -> str:
    question: str = row.get("question", row["id"])
    return question
