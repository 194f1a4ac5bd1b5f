"""GPQA: what is read, in which order options stand, and what an answer is. Invented questions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from rvpo.benchmarks.gpqa.extract import robust, simple_evals
from rvpo.benchmarks.gpqa.gpqa import Gpqa, GpqaConfig
from rvpo.benchmarks.gpqa.questions import order
from rvpo.errors import DataError
from rvpo.types import Prompt

HEADER = (
    "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,"
    "Record ID,High-level domain,Canary String"
)
ROWS = (
    "What is two and two?,4,3,5,4,r1,Physics,c\n"
    '"Which, of these?"," kept ",b,c,d,r2,Biology,c\n'
    "And which of those?,w,x,y,z,r3,Biology,c"
)


def file(folder: Path, rows: str = ROWS, header: str = HEADER) -> Path:
    path = folder / "gpqa.csv"
    path.write_text(f"{header}\n{rows}\n", encoding="utf-8")
    return path


def benchmark(folder: Path, **settings: object) -> Gpqa:
    return GpqaConfig.model_validate({"path": str(file(folder)), **settings}).read(print)


# What the reference's expression makes of it, and what a reader would.
ANSWERS = [
    ("Answer: B", "B", "B"),
    ("answer:b", "B", "B"),
    ("Answer: $C$", "C", "C"),
    ("Answer: **B**", None, "B"),
    ("**Answer:** B", None, "B"),
    ("Answer: (B)", None, "B"),
    ("Answer:\nB", None, "B"),
    (r"So it is \boxed{B}.", None, "B"),
    (r"\boxed{\text{C}}", None, "C"),
    (r"\[ \boxed{\textbf{(D)}} \]", None, "D"),
    ("The answer is C", None, "C"),
    ("The correct answer is (A).", None, "A"),
    ("Answer: Because of entropy.", "B", None),
    ("The final answer: All of these matter.\nAnswer: D", "A", "D"),
    ("Answer: A\nWait, no.\nAnswer: C", "A", "C"),
    ("Answer: A or B", "A", None),
    ("The answer is A, B", None, None),
    ("It depends.", None, None),
    ("The answer is a bit involved.", None, None),
    ("The answer is a\n", None, "A"),
    ("I weigh them.\n\n(C)", None, "C"),
    ("**D**", None, "D"),
    ("Vitamin C", None, None),
    ("Answer: Da Vinci", "D", None),
    ("Option B is wrong. The answer is D'Alembert's.", None, None),
    ("Answer: D because option A ignores the sign", "D", "D"),
    ("Answer: C\n\nOption D is wrong because of the sign.", "C", "C"),
    ("The answer is C. Option D is incorrect.", None, "C"),
    ("Therefore option B is incorrect.", None, None),
    ("Option A is wrong, option B is wrong.", None, None),
    ("Option B is not correct.", None, None),
    ("Option B is the correct one.", None, "B"),
    ("The correct option is (C), as A has the wrong sign.", None, "C"),
    ("Answer: A acid is formed.", "A", None),
    ("The answer is A because of that.", None, "A"),
    ('Answer: "B"', None, "B"),
    ("Answer\uff1aB", None, "B"),
    ("Answer: <B>", None, "B"),
    ("Answer - B", None, "B"),
    ("Answer: I choose B", None, "B"),
    ("The answer is therefore C.", None, "C"),
    ("Answer: Option D", None, "D"),
    (r"\fbox{B}", None, "B"),
    ("The answer is not C.", None, None),
    ("I weigh them.\nOption B", None, "B"),
    ("", None, None),
]


@pytest.mark.parametrize(("text", "reference", "reader"), ANSWERS)
def test_both_readings_of_an_answer(text: str, reference: str | None, reader: str | None) -> None:
    assert simple_evals(text) == reference
    assert robust(text) == reader


@pytest.mark.parametrize("noise", [" ", "\n", "(", "answer is ", r"\boxed{", "option d "])
def test_long_noise_is_read_in_no_time(noise: str) -> None:
    assert robust("Answer: " + noise * 50_000 + "x") is None


def test_the_right_option_is_at_every_place_equally_often() -> None:
    places = Counter(order(seed, "record", 0).index(0) for seed in range(1000))
    assert stats.chisquare([places[n] for n in range(4)]).pvalue > 0.01
    orders = Counter(order(seed, "record", 0) for seed in range(1000))
    assert len(orders) == 24
    assert stats.chisquare(list(orders.values())).pvalue > 0.01


def test_repeats_and_questions_are_ordered_independently() -> None:
    assert len({order(0, "record", repeat) for repeat in range(50)}) > 15
    assert len({order(0, f"record {n}", 0) for n in range(50)}) > 15


def test_an_order_depends_on_nothing_else(tmp_path: Path) -> None:
    whole = {p.id: p.columns["order"] for p in benchmark(tmp_path).prompts}
    part = {p.id: p.columns["order"] for p in benchmark(tmp_path, limit=2, repeats=2).prompts}
    assert part.items() <= whole.items()
    assert whole != {p.id: p.columns["order"] for p in benchmark(tmp_path, seed=1).prompts}


def test_the_gold_letter_is_where_the_right_option_stands(tmp_path: Path) -> None:
    for prompt in benchmark(tmp_path, repeats=8).prompts:
        options = dict(
            line.split(") ", 1)
            for line in prompt.messages[0]["content"].split("\n\n")[-1].split("\n")
        )
        right = {"r1": "4", "r2": " kept ", "r3": "w"}[prompt.columns["question"]]
        assert options[prompt.columns["gold"]] == right


def test_options_of_the_same_text_are_told_apart(tmp_path: Path) -> None:
    golds = Counter(
        prompt.columns["gold"]
        for prompt in benchmark(tmp_path, repeats=400).prompts
        if prompt.columns["question"] == "r1"  # whose right option is also a wrong one
    )
    assert stats.chisquare([golds[letter] for letter in "ABCD"]).pvalue > 0.01


def graded(benchmark: Gpqa, answer: str) -> list[dict[str, object]]:
    def completion(prompt: Prompt) -> str:
        return answer.replace("GOLD", prompt.columns["gold"])

    return [
        {"id": p.id, "completion": completion(p), **benchmark.grade(p, completion(p))()}
        for p in benchmark.prompts
    ]


def test_scores_by_both_readings(tmp_path: Path) -> None:
    found = benchmark(tmp_path)
    summary = found.summarise(graded(found, "The answer is GOLD"))
    assert summary.metrics["accuracy"] == summary.metrics["accuracy/simple_evals"] == 0
    assert summary.metrics["accuracy/robust"] == 1
    assert summary.metrics["unparsed/simple_evals"] == 1
    assert summary.about["chosen letters"]["simple_evals"]["none"] == 12
    golds = summary.about["gold letters"]
    assert sum(golds.values()) == 12
    assert summary.about["chosen letters"]["robust"] == golds


def test_the_interval_knows_that_repeats_are_one_question(tmp_path: Path) -> None:
    found = benchmark(tmp_path, repeats=100)
    rows = graded(found, "Answer: GOLD")
    for row in rows:
        if row["question"] == "r1":
            row["correct"] = {"simple_evals": False, "robust": False}
    interval = found.summarise(rows).scores["accuracy"].interval
    assert interval is not None
    assert interval[1] - interval[0] > 0.5  # of three questions, not of three hundred answers


def test_the_canary_stays_with_what_is_stored(tmp_path: Path) -> None:
    found = benchmark(tmp_path)
    assert all(row["canary"] == "c" for row in graded(found, "Answer: A"))


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (ROWS.replace("4,3,5,4", ",3,5,4"), HEADER, "row 1: 'Correct Answer' is empty"),
        (ROWS.replace("r2", "r1"), HEADER, "two questions with the Record ID 'r1'"),
        (ROWS, HEADER.replace("Incorrect Answer 3", "Wrong 3"), "no column 'Incorrect Answer 3'"),
        ("", HEADER, "has no rows"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, rows: str, header: str, words: str) -> None:
    path = file(tmp_path, rows, header)
    with pytest.raises(DataError, match=words):
        GpqaConfig(path=str(path)).read(print)


def test_a_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Idavidrein/gpqa"):
        GpqaConfig(path=str(tmp_path / "none.csv")).read(print)
