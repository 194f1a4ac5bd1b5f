"""What a sheet says: labels that nobody can guess, and blocks that nothing can leave."""

from __future__ import annotations

import hashlib
import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.judge.control_tokens import harmless
from rvpo.judge.prompt import messages
from rvpo.judge.reply_object import Unreadable
from rvpo.judge.sheet import calls, company, divided, labels, sheet_messages
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job, Question, Usage
from rvpo.judge.verdicts import read_sheet, sheet_schema
from tests.judge.test_prompt import any_text

KEYS = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=12, unique=True)


def blocks(content: str) -> list[tuple[str, str]]:
    """(title, text) of each block of a message, found by its fences alone."""
    found = []
    rest = content.removeprefix("The conversation:\n\n")
    while rest:
        title, rest = rest.split(":\n", 1)
        fence, rest = rest.split("\n", 1)
        assert set(fence) == {"="}
        text, rest = re.split(rf"(?m)\n{fence}$(?:\n\n)?", rest, maxsplit=1)
        found.append((title, text))
    return found


def job(response: str) -> Job:
    return Job(conversation=(("user", "Capital of France?"),), response=response, questions=())


@settings(deadline=None)
@given(response=any_text, texts=st.lists(any_text, min_size=2, max_size=5))
def test_each_text_stays_in_its_block_below_its_label(response: str, texts: list[str]) -> None:
    names = labels([bytes([number]) * 32 for number in range(len(texts))])
    asked = [Question("criterion", text) for text in texts]
    _, user = sheet_messages(job(response), asked, names, reasons=True)
    assert blocks(user["content"]) == [
        ('Turn 1, by "user"', "Capital of France?"),
        ("The response", harmless(response)),
        *((f"Criterion {n}", harmless(text)) for n, text in zip(names, texts, strict=True)),
    ]


def test_a_sheet_shows_what_a_question_alone_does() -> None:
    """Reference, grades and a template of the user's own, and one form of the reply."""
    scale = ((0.0, "missing"), (1.0, "there"))
    asked = [Question("criterion", t, reference="Paris", scale=scale) for t in ("One.", "Two.")]
    system, user = sheet_messages(job("Lyon"), asked, ("BCDFG", "HJKLM"), reasons=False)
    alone = messages(job("Lyon"), asked[0], reasons=False)
    assert [title for title, _ in blocks(user["content"])] == [
        'Turn 1, by "user"',
        "The reference answer",
        "The response",
        "Criterion BCDFG",
        "Criterion HJKLM",
        "Grades",
    ]
    form = '{"grade": N} where N is one of 0, 1'
    assert system["content"].endswith(form)
    assert alone[0]["content"].endswith(form)
    template = JudgeTemplate("Read <<response>> and tell of <<criterion>>")
    system, user = sheet_messages(job("Lyon"), asked, ("BCDFG", "HJKLM"), False, template)
    assert user["content"].startswith("Read \n=====\nLyon\n=====\n and tell of \nCriterion BCDFG:")
    assert system["content"].endswith(form)


@settings(deadline=None)
@given(keys=KEYS)
def test_labels_differ_and_belong_to_their_digests(keys: list[bytes]) -> None:
    found = labels(keys)
    assert len(set(found)) == len(keys)
    assert all(re.fullmatch("[B-DF-HJ-NP-TV-XZ]{5,}", label) for label in found)
    assert labels(keys[::-1]) == found[::-1]
    assert all(label.startswith(labels([key])[0]) for key, label in zip(keys, found, strict=True))


def test_labels_that_would_be_alike_are_longer() -> None:
    """Found by trying: the first two digests whose labels begin alike in five letters."""
    seen: dict[str, bytes] = {}
    for number in range(100_000):
        key = hashlib.sha256(str(number).encode()).digest()
        (label,) = labels([key])
        if label in seen:
            break
        seen[label] = key
    first, second = labels([seen[label], key])
    assert first != second
    assert first[:5] == second[:5] == label


@settings(deadline=None)
@given(count=st.integers(0, 60), most=st.integers(1, 20))
def test_parts_are_as_few_and_as_equal_as_can_be(count: int, most: int) -> None:
    parts = divided(range(count), most)
    assert [item for part in parts for item in part] == list(range(count))
    assert len(parts) == -(-count // most)
    sizes = {len(part) for part in parts}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_only_criteria_that_are_asked_alike_share_a_call() -> None:
    criterion = Question("criterion", "a")
    others = [
        Question("rating", "b"),
        Question("grade", "c"),
        Question("criterion", "d", expected=True),
    ]
    assert [company(question) for question in others] == [None] * 3
    seen = Question("criterion", "e", sees="everything")
    asked = [others[0], criterion, seen, others[2], Question("criterion", "f"), others[1]]
    found = calls(asked, None, company)
    assert found == [[others[0]], [others[2]], [others[1]], [criterion, asked[4]], [seen]]


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 1000), min_size=6, max_size=6),
    failures=st.dictionaries(st.sampled_from(["timeout", "http 500"]), st.integers(1, 9)),
    count=st.integers(1, 12),
)
def test_shares_of_a_call_add_up_to_it(
    counts: list[int], failures: dict[str, int], count: int
) -> None:
    requests, retries, hedges, parse_failures, tokens, output = counts
    usage = Usage(
        requests=requests,
        retries=retries,
        hedges=hedges,
        parse_failures=parse_failures,
        input_tokens=tokens,
        output_tokens=output,
        cost=0.0,
        latency_s=1.5,
        attempt_failures=failures,
    )
    shares = usage.shares(count)
    assert sum(shares, Usage()) == usage
    assert len(shares) == count
    assert {share.latency_s for share in shares} == {1.5}
    assert max(share.requests for share in shares) - min(s.requests for s in shares) <= 1


def said(**objects: object) -> str:
    return json.dumps(objects)


def test_a_verdict_that_one_criterion_lacks_is_told_by_its_reason() -> None:
    questions = {label: Question("criterion", label) for label in ("BCDFG", "HJKLM", "NPQRS")}
    text = (
        '{"NPQRS": {"reason": "So.", "met": true}, "hjklm": {"met": false}, '
        '"HJKLM": {"met": false}, "1": {"met": true}}'
    )
    found = read_sheet(questions, text)
    assert found.pop("NPQRS") == (1.0, "So.")
    assert {label: str(each) for label, each in found.items()} == {
        "BCDFG": "criterion left out",
        "HJKLM": "criterion named twice",
    }
    assert all(isinstance(each, Unreadable) for each in found.values())


def test_the_schema_of_a_sheet_is_that_of_each_criterion() -> None:
    scale = ((0.0, ""), (1.0, ""), (2.0, ""))
    questions = {
        "BCDFG": Question("criterion", "a", scale=scale),
        "HJKLM": Question("criterion", "b", scale=scale),
    }
    form = sheet_schema(questions, reasons=False)
    assert form["required"] == ["BCDFG", "HJKLM"]
    grade = {"type": "integer", "enum": [0, 1, 2]}
    assert [each["properties"] for each in form["properties"].values()] == [{"grade": grade}] * 2
    found = read_sheet(questions, said(HJKLM={"grade": 1}, BCDFG={"grade": 2}))
    assert found == {"BCDFG": (1.0, ""), "HJKLM": (0.5, "")}
