"""Several answers to each question of a benchmark: one of k that is right, and the one of most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.benchmarks.bfcl.bfcl import Bfcl, BfclConfig
from rvpo.benchmarks.gpqa.extract import LETTERS
from rvpo.benchmarks.gpqa.gpqa import GpqaConfig
from rvpo.evaluate.at_k import with_k
from rvpo.types import Prompt
from tests.benchmarks.test_gpqa import benchmark as gpqa


def graded(benchmark: Benchmark, answers: Sequence[str]) -> list[Mapping[str, Any]]:
    return [
        {"id": prompt.id, "completion": answer, **benchmark.grade(prompt, answer)()}
        for prompt, answer in zip(benchmark.prompts, answers, strict=True)
    ]


def at_k(benchmark: Benchmark, answers: Sequence[str]) -> dict[str, float]:
    rows = graded(benchmark, answers)
    found = with_k(benchmark, benchmark.summarise(rows), rows).metrics
    return {name: value for name, value in found.items() if "@" in name}


def choosing(prompt: Prompt, option: int | None) -> str:
    """The answer line for an option, wherever it stands; 0 is the right one."""
    return "No." if option is None else f"Answer: {LETTERS[prompt.columns['order'].index(option)]}"


def test_votes_are_for_options_and_not_for_letters(tmp_path: Path) -> None:
    exam = gpqa(tmp_path, repeats=4, at_k=[1, 4], limit=1)
    right = [choosing(prompt, 0) for prompt in exam.prompts]
    assert len(set(right)) > 1
    chosen = dict.fromkeys(range(4), 1) | {
        0: 0,
        right.index(next(x for x in right if x != right[0])): 0,
    }
    first, second = (n for n in chosen if chosen[n] == 1)
    chosen |= {first: 2, second: 3}
    answers = [choosing(prompt, chosen[n]) for n, prompt in enumerate(exam.prompts)]
    assert at_k(exam, answers) == {"pass@1": 0.5, "maj@1": 0.5, "pass@4": 1, "maj@4": 1}
    answers = [choosing(p, o) for p, o in zip(exam.prompts, (0, 1, 1, None), strict=True)]
    assert at_k(exam, answers) == {"pass@1": 0.25, "maj@1": 0.25, "pass@4": 1, "maj@4": 0}


def test_the_score_is_the_mean_over_questions_with_their_interval(tmp_path: Path) -> None:
    exam = gpqa(tmp_path, repeats=2, at_k=2)
    wanted = {"r1": (0, 1), "r2": (1, 1), "r3": (0, 0)}
    answers = [
        choosing(p, wanted[p.columns["question"]][p.columns["repeat"]]) for p in exam.prompts
    ]
    rows = graded(exam, answers)
    scores = with_k(exam, exam.summarise(rows), rows).scores
    assert scores["pass@2"].value == pytest.approx(2 / 3)
    assert scores["maj@2"].value == 0.5
    assert scores["pass@2"].count == 3
    assert scores["pass@2"].interval is not None
    assert next(iter(scores)) == "accuracy"


def test_a_benchmark_that_wants_none_has_none(tmp_path: Path) -> None:
    exam = gpqa(tmp_path)
    assert at_k(exam, [choosing(prompt, 0) for prompt in exam.prompts]) == {}


def tools(**settings: Any) -> Bfcl:
    given = {"categories": ["multiple"], "limit": 2, "format": "toolrl", **settings}
    return BfclConfig.model_validate(given).read(lambda words: None)


def test_calls_of_a_question_may_be_asked_for_several_times() -> None:
    once, several = tools(), tools(repeats=3, temperature=0.7, at_k=3)
    assert [p.id for p in several.prompts] == [
        f"{p.id}/{repeat}" for p in once.prompts for repeat in range(3)
    ]
    assert {p.id: p.messages for p in once.prompts}[once.prompts[0].id] == several.prompts[
        2
    ].messages
    right = '<tool_call>\n{"name": "x", "parameters": {}}\n</tool_call>'
    rows = graded(several, [right, right, "Nothing."] * 2)
    for row in rows[1:3]:
        row["valid"] = True  # type: ignore[index]
    found = with_k(several, several.summarise(rows), rows)
    assert found.metrics["pass@3"] == 0.5
    # Two of the first question's calls are the same, of which one is right.
    assert found.metrics["maj@3"] == pytest.approx(0.25)
    assert found.by_question[once.prompts[0].id] == pytest.approx(2 / 3)
    assert found.scores["accuracy"].count == 6


def test_a_question_asked_once_has_the_identity_that_it_always_had() -> None:
    assert "repeats" not in tools().identity
    assert tools(repeats=2, temperature=0.7).identity["repeats"] == 2
    with_sampling = tools(temperature=0.7, top_p=0.9).identity
    assert with_sampling["top_p"] == 0.9
    assert "top_p" not in tools(temperature=0.7).identity
    assert "at_k" not in tools(repeats=2, temperature=0.7, at_k=2).identity


@pytest.mark.parametrize(
    ("config", "settings", "words"),
    [
        (GpqaConfig, {"path": "x", "at_k": [8]}, "8 answers cannot be taken from repeats=4"),
        (BfclConfig, {"repeats": 2}, "all 2 answers to a question are the same"),
        (BfclConfig, {"at_k": 2, "temperature": 0.7}, "2 answers cannot be taken from repeats=1"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    config: type[GpqaConfig] | type[BfclConfig], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        config.model_validate(settings)
