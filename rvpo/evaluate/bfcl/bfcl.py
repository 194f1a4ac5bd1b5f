"""BFCL's single-turn questions as a benchmark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any, Final

from rvpo.errors import ConfigError
from rvpo.evaluate.benchmark import Pending, Score, Summary, evenly, fingerprint
from rvpo.evaluate.benchmark import Row as Graded
from rvpo.evaluate.bfcl.check import check, check_relevance
from rvpo.evaluate.bfcl.decode import Decoded, decode_toolrl, decode_tools
from rvpo.evaluate.bfcl.distribution import PINS, find
from rvpo.evaluate.bfcl.rows import SINGLE_TURN, Row, load
from rvpo.evaluate.bfcl.schema import Tools, tools
from rvpo.evaluate.bfcl.score import SIZES, Tally, scores
from rvpo.evaluate.settings import BfclConfig
from rvpo.evaluate.statistics import mean_interval
from rvpo.types import Prompt

_TOOLS_PLACE: Final = "<<tools>>"
NOT_RUN: Final = (
    "multi-turn and agentic categories need bfcl-eval's simulated services, which are not included"
)


@dataclass(frozen=True)
class Bfcl:
    """Every question of the categories, asked once."""

    config: BfclConfig
    rows: Mapping[str, Row] = field(repr=False)
    shown: Mapping[str, Tools] = field(repr=False)
    """The functions of each row as its model is shown them."""
    prompts: tuple[Prompt, ...] = field(repr=False)
    is_published: bool = True
    """Whether the rows come from the wheel that was released."""

    name: str = "bfcl"

    @staticmethod
    def of(config: BfclConfig, say: Callable[[str], None]) -> Bfcl:
        """Read the questions, fetching the wheel that holds them if it is not there.

        Raises:
            ConfigError: it cannot be fetched or read, or a category is not one.
        """
        say(f"bfcl: reading bfcl-eval {PINS[config.version].release}")
        wheel = find(config.version, config.path, "benchmarks.bfcl.path")
        if not wheel.is_pinned:
            say(f"bfcl: {wheel.path} is not the published wheel; scores may not be comparable")
        rows = evenly(load(wheel, config.categories or SINGLE_TURN), config.limit)
        shown = {row.id: tools(row.functions, row.language) for row in rows}
        template = toolrl_template(config)
        return Bfcl(
            config,
            {row.id: row for row in rows},
            shown,
            tuple(
                _with_tools(row, shown[row.id])
                if config.format == "tools"
                else _with_system_prompt(row, template)
                for row in rows
            ),
            wheel.is_pinned,
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Benchmark.identity`."""
        settings = self.config.model_dump(exclude={"path", "batch", "system_prompt"})
        template = hashlib.sha256(toolrl_template(self.config).encode()).hexdigest()
        return {
            "release": PINS[self.config.version].release,
            "is_published": self.is_published,
            "content": fingerprint([asdict(row) for row in self.rows.values()]),
            "template": template,
            **settings,
        }

    def grade(self, prompt: Prompt, completion: str) -> Pending:
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

    def ungraded(self, row: Graded) -> float:
        """See `Benchmark.ungraded`: everything can be determined."""
        return 0.0

    def summarise(self, rows: Sequence[Graded]) -> Summary:
        """The share of all questions that were asked, of each category, and the leaderboard's own
        scores where all that they need was run. Beside them the share of answers in the form that
        was asked for: where no call is wanted, an answer that nobody can read is right."""
        categories = list(dict.fromkeys(row["category"] for row in rows))
        by = {c: [row for row in rows if row["category"] == c] for c in categories}
        found = {"accuracy": _share(rows, "valid")}
        found |= {name: _share(own, "valid") for name, own in by.items()}
        sizes = SIZES[self.config.version]
        tallies = {
            name: Tally(sum(row["valid"] for row in own), len(own)) for name, own in by.items()
        }
        official = scores(self.config.version, tallies)
        known = {name: score for name, score in official.items() if score.value is not None}
        found |= {
            name: Score(value=score.value, count=sum(sizes[c] for c in categories))
            for name, score in known.items()
        }
        found["format"] = _share(rows, "is_well_formed")
        found |= {
            f"format/{name}": _share(own, "is_well_formed")
            for name, own in by.items()
            if name.endswith("relevance")
        }
        return Summary(
            scores=found,
            curves=("accuracy", *(n for n in ("non_live", "live") if n in found), "format"),
            by_question={row["id"]: float(row["valid"]) for row in rows},
            about={
                "release": PINS[self.config.version].release,
                "format": self.config.format,
                "not run": NOT_RUN,
                "without a value": {
                    name: list(score.missing)
                    for name, score in official.items()
                    if score.value is None
                },
            },
        )

    def _decode(self, row: Row, completion: str) -> Decoded:
        if self.config.format == "toolrl":
            return decode_toolrl(completion)
        return decode_tools(completion, self.shown[row.id].own_name)


def toolrl_template(config: BfclConfig) -> str:
    """The system prompt of the format `toolrl`, with a place for the functions.

    Raises:
        ConfigError: the given file cannot be read, or has no such place.
    """
    if config.system_prompt is None:
        own = files("rvpo.evaluate.bfcl").joinpath("toolrl.txt")
        return own.read_text(encoding="utf-8")
    where = f"bfcl.system_prompt: '{config.system_prompt}'"
    try:
        text = config.system_prompt.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read ({error}); give a text file") from error
    if _TOOLS_PLACE not in text:
        raise ConfigError(f"{where} has no {_TOOLS_PLACE}; put it where the functions are to stand")
    return text


def _with_tools(row: Row, shown: Tools) -> Prompt:
    return Prompt(id=row.id, messages=row.messages, tools=shown.definitions)


def _with_system_prompt(row: Row, template: str) -> Prompt:
    """The functions as ToolRL lists them: without saying which parameters are required."""
    listed = "\n".join(
        f"{number}. Name: {function['name']}\nDescription: {function['description']}\n"
        f"Parameters: {json.dumps(function['parameters'].get('properties', {}))}"
        for number, function in enumerate(row.functions, start=1)
    )
    before, after = template.split(_TOOLS_PLACE, 1)
    own = [turn["content"] for turn in row.messages if turn["role"] == "system"]
    system = "\n\n".join([before + listed + after, *own])
    turns = tuple(turn for turn in row.messages if turn["role"] != "system")
    return Prompt(id=row.id, messages=({"role": "system", "content": system}, *turns))


def _share(rows: Sequence[Graded], key: str) -> Score:
    values = [float(row[key]) for row in rows]
    return Score(
        value=sum(values) / len(values),
        count=len(values),
        interval=mean_interval(values, [row["id"] for row in rows]),
    )
