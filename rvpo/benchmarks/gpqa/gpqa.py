"""GPQA as a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from rvpo.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSummary,
    Pending,
    RepeatedSection,
    Row,
    Score,
    Vote,
    by_question,
    evenly,
)
from rvpo.benchmarks.gpqa.extract import EXTRACTORS, LETTERS
from rvpo.benchmarks.gpqa.questions import GpqaQuestion, order, read_questions
from rvpo.benchmarks.statistics import mean_interval
from rvpo.fields import NonNegativeInt, PositiveInt
from rvpo.types import Prompt

_INSTRUCTION: Final = (
    "Here is a multiple-choice question with four options. Think it through step by step, and end "
    "with one line of the form 'Answer: X', where X is the letter of the option you choose: A, B, "
    "C or D."
)


class GpqaConfig(RepeatedSection):
    """GPQA (arXiv:2311.12022): multiple choice, four options."""

    name: ClassVar[str] = "gpqa"

    path: str
    """gpqa_diamond.csv, or another file with its columns."""
    repeats: PositiveInt = 4
    """Times that each question is asked, each time with its options in another order."""
    seed: NonNegativeInt = 0
    """Seed of the order of the options. It is not that of a run: all runs sit the same exam."""
    extractor: Literal["simple_evals", "robust"] = "simple_evals"
    """Reading of the answer that gives `accuracy`; both are reported."""

    def read(self, say: Callable[[str], None]) -> Gpqa:
        """See `BenchmarkSection.read`."""
        questions = evenly(read_questions(self.path), self.limit)
        return Gpqa(
            self,
            tuple(
                _prompt(question, repeat, order(self.seed, question.id, repeat))
                for question in questions
                for repeat in range(self.repeats)
            ),
        )


@dataclass(frozen=True)
class Gpqa(Benchmark):
    """Every question, `repeats` times with its options in another order.

    Answer line and expression are those of openai/simple-evals; the words around them are ours.
    """

    config: GpqaConfig

    def grade(self, prompt: Prompt, completion: str, earlier: Row | None = None) -> Pending:
        """See `Benchmark.grade`: nothing is waited for."""
        gold = prompt.columns["gold"]
        read = {name: extract(completion) for name, extract in EXTRACTORS.items()}
        row = {
            **prompt.columns,
            "letters": read,
            "correct": {name: letter == gold for name, letter in read.items()},
        }
        return lambda: row

    def vote(self, row: Row) -> Vote:
        """See `Benchmark.vote`: the option that was chosen, wherever it stood."""
        chosen = self.config.extractor
        letter = row["letters"][chosen]
        return Vote(
            question=row["question"],
            answer=None if letter is None else str(row["order"][LETTERS.index(letter)]),
            is_right=row["correct"][chosen],
        )

    def summarise(self, rows: Sequence[Row]) -> BenchmarkSummary:
        """Accuracy by either reading, in all and by domain; unread answers are wrong."""
        chosen = self.config.extractor
        scores = {"accuracy": _accuracy(rows, chosen)}
        scores |= {f"accuracy/{name}": _accuracy(rows, name) for name in EXTRACTORS}
        for domain in sorted({row["domain"] for row in rows} - {""}):
            own = [row for row in rows if row["domain"] == domain]
            scores[f"accuracy/{domain.lower()}"] = _accuracy(own, chosen)
        for name in EXTRACTORS:
            unread = [float(row["letters"][name] is None) for row in rows]
            scores[f"unparsed/{name}"] = Score(value=sum(unread) / len(unread), count=len(unread))
        return BenchmarkSummary(
            scores=scores,
            curves=("accuracy", "accuracy/robust", "unparsed/simple_evals"),
            by_question=by_question(
                [(row["question"], float(row["correct"][chosen])) for row in rows]
            ),
            about={
                "extractor": chosen,
                "questions": len({row["question"] for row in rows}),
                "gold letters": _histogram([row["gold"] for row in rows]),
                "chosen letters": {
                    name: _histogram([row["letters"][name] for row in rows]) for name in EXTRACTORS
                },
            },
        )


def _prompt(question: GpqaQuestion, repeat: int, places: tuple[int, ...]) -> Prompt:
    lines = [f"{letter}) {question.options[n]}" for letter, n in zip(LETTERS, places, strict=True)]
    text = "\n\n".join([_INSTRUCTION, question.text, "\n".join(lines)])
    return Prompt(
        id=f"{question.id}/{repeat}",
        messages=({"role": "user", "content": text},),
        columns={
            "question": question.id,
            "repeat": repeat,
            "order": list(places),
            "gold": LETTERS[places.index(0)],
            "domain": question.domain,
            "canary": question.canary,
        },
    )


def _accuracy(rows: Sequence[Row], extractor: str) -> Score:
    values = [float(row["correct"][extractor]) for row in rows]
    return Score(
        value=sum(values) / len(values),
        count=len(values),
        interval=mean_interval(values, [row["question"] for row in rows]),
    )


def _histogram(letters: Sequence[str | None]) -> dict[str, int]:
    counted = Counter(letter or "none" for letter in letters)
    return {letter: counted.get(letter, 0) for letter in (*LETTERS, "none")}
