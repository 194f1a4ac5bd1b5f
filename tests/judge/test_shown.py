"""A template, a reference and grades are shown as they are meant, and none of them gives orders."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.diff import identity
from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.errors import ConfigError
from rvpo.judge.control_tokens import harmless
from rvpo.judge.prompt import messages
from rvpo.judge.sheet import sheet_messages
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from rvpo.judge.worker.request import Renderer
from rvpo.scale import Grades, scale_of
from tests.judge import sheets
from tests.judge.server import FakeEndpoint, completion
from tests.judge.test_prompt import ATTACKS, any_text, job

CRITERION = Question("criterion", "Names the capital.")
SCALE = scale_of({0: "missing", 1: "partly", 2: "fully"})
TEMPLATE = JudgeTemplate(
    "Judge: <<criterion>>\n\nAsked:\n<<conversation>>\n\nGood: <<reference>>, and said:\n"
    "<<response>> Take your time."
)
FENCE = re.compile(r"(?m)^(={5,})\n(.*?)\n\1$", re.DOTALL)
words = st.one_of(st.sampled_from(ATTACKS), any_text).filter(lambda text: text.strip())


def blocks(content: str) -> list[str]:
    """The texts between fences, in their order."""
    return [text for _, text in FENCE.findall(content)]


def around(content: str) -> str:
    """What stands outside of all fences."""
    return FENCE.sub("#", content)


def config(template: Path | None = None, **more: object) -> JudgeConfig:
    endpoints = [{"url": "http://127.0.0.1:1/v1"}]
    return JudgeConfig.model_validate(
        {"model": "judge", "endpoints": endpoints, "template": template, **more}
    )


@settings(deadline=None)
@given(turn=any_text, reference=words, response=any_text, criterion=words)
def test_any_texts_stay_in_their_blocks_of_a_template(
    turn: str, reference: str, response: str, criterion: str
) -> None:
    asked = replace(CRITERION, text=criterion, reference=reference)
    system, user = messages(job(response, ("user", turn)), asked, True, TEMPLATE)
    assert blocks(user["content"]) == list(map(harmless, (criterion, turn, reference, response)))
    usual = messages(
        job("a", ("user", "b")), replace(asked, text="c", reference="d"), True, TEMPLATE
    )
    assert around(user["content"]) == around(usual[1]["content"])
    assert system == usual[0]


@settings(deadline=None)
@given(reference=words, response=any_text)
def test_a_reference_stays_in_its_block(reference: str, response: str) -> None:
    asked = replace(CRITERION, reference=reference)
    system, user = messages(job(response), asked, True)
    assert blocks(user["content"])[1:] == [harmless(reference), harmless(response), CRITERION.text]
    usual = messages(job("a"), replace(asked, reference="b"), True)
    assert (system, around(user["content"])) == (usual[0], around(usual[1]["content"]))


lines = words.map(lambda text: " ".join(text.split())[:200]).filter(
    lambda word: word.strip() and not re.fullmatch(r"-?[\d.]+", word.strip())
)


@settings(deadline=None)
@given(low=lines, high=lines, template=st.sampled_from([None, TEMPLATE]))
def test_words_of_grades_stay_in_their_block(
    low: str, high: str, template: JudgeTemplate | None
) -> None:
    scale: Grades = ((0.0, low), (1.0, high))
    asked = replace(CRITERION, scale=scale, reference="Paris.")
    system, user = messages(job("Paris."), asked, True, template)
    assert harmless(f"0: {low}\n1: {high}") in blocks(user["content"])
    usual = messages(job("Paris."), replace(asked, scale=((0.0, "a"), (1.0, "b"))), True, template)
    assert (system, around(user["content"])) == (usual[0], around(usual[1]["content"]))


@pytest.mark.parametrize("kind", ["criterion", "rating"])
def test_the_reply_is_described_by_the_numbers_of_the_scale(kind: str) -> None:
    asked = Question(kind, "a", scale=scale_of([0.5, 1, 4]))  # type: ignore[arg-type]
    for template in (None, JudgeTemplate("<<response>><<criterion>>")):
        system = messages(job("b"), asked, False, template)[0]["content"]
        key = "grade" if kind == "criterion" else "rating"
        assert system.endswith(f'{{"{key}": N}} where N is one of 0.5, 1, 4')
        assert ("0.5 is a response that fails" in system) == (kind == "rating" and not template)


def test_a_template_replaces_our_rules_and_not_those_of_reading() -> None:
    ours, theirs = (messages(job("b"), CRITERION, True, t)[0]["content"] for t in (None, TEMPLATE))
    assert ours.endswith(theirs)
    assert theirs.startswith("How to read what you are given:")


def test_every_block_of_a_template_has_lines_of_its_own() -> None:
    user = messages(job("b"), replace(CRITERION, reference="c"), True, TEMPLATE)[1]["content"]
    assert user == (
        'Judge: \n=====\nNames the capital.\n=====\n\nAsked:\nTurn 1, by "user":\n=====\n'
        "Capital of France?\n=====\n\nGood: \n=====\nc\n=====\n, and said:\n=====\nb\n=====\n"
        " Take your time."
    )


def test_a_benchmark_is_graded_in_its_own_words() -> None:
    grade = Question("grade", "all of it")
    assert messages(job("b"), grade, True, TEMPLATE) == messages(job("b"), grade, True)


def written(folder: Path, text: str | bytes) -> JudgeConfig:
    file = folder / "judge.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no <<response>>"),
        ("<<response>>", "has no <<criterion>>; put it where the criterion is to stand"),
        ("{{response}} <<criterion>>", "has no <<response>>"),
        ("<<response>> <<criterion>> <<referense>>", "did you mean <<reference>>?"),
        ("<< response >> <<response>> <<criterion>>", "did you mean <<response>>?"),
        ("<<response>> <<criterion>> <<points>>", "no placeholder <<points>>"),
        (b"<<response>> <<criterion>> \xff", "cannot be read"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(
    text: str | bytes, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as refused:
        JudgeTemplate.of(written(tmp_path, text), "judges.gold")
    assert str(refused.value).startswith(f"judges.gold.template: '{tmp_path}/judge.txt'")


def test_a_template_that_is_not_there_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"<<response>> <<criterion>>" * 2**16)
    paths = [tmp_path, *(tmp_path / name for name in ("none.txt", "pipe", "large"))]
    for path in (*paths, Path("\0"), Path("n" * 5000), Path("/dev/zero"), Path("~nobody-here/a")):
        with pytest.raises(ConfigError, match=r"judge\.template: .* give a text file"):
            JudgeTemplate.of(config(path))
    with pytest.raises(ConfigError, match="names a file, and a text is given"):
        JudgeTemplate.of(config(Path("Judge <<response>>\nby <<criterion>>.")))


def test_a_template_is_the_same_on_every_machine(tmp_path: Path) -> None:
    text = "A.\n<<response>>\n<<criterion>>"
    for spelling in (text, f"\ufeff{text}\n", text.replace("\n", "\r\n")):
        template = JudgeTemplate.of(written(tmp_path, spelling))
        assert template is not None
        assert template.text == text


def key(question: Question, judge: JudgeConfig, response: str = "b") -> bytes:
    return Renderer(judge, JudgeTemplate.of(judge)).render(job(response), question).key


def test_whatever_is_shown_is_part_of_what_a_verdict_is_filed_under(tmp_path: Path) -> None:
    plain = config()
    first = written(tmp_path, "<<response>> <<criterion>>")
    keys = [
        key(CRITERION, plain),
        key(replace(CRITERION, reference="Paris."), plain),
        key(replace(CRITERION, reference="Rome."), plain),
        key(replace(CRITERION, scale=SCALE), plain),
        key(replace(CRITERION, scale=scale_of([0, 1, 2])), plain),
        key(
            replace(CRITERION, scale=scale_of([0, 1, 3])),
            plain.model_copy(update={"structured": False}),
        ),
        key(replace(CRITERION, expected=True), plain),
        key(CRITERION, first),
        key(CRITERION, written(tmp_path, "<<response>> <<criterion>> ")),
    ]
    assert len(set(keys)) == len(keys)


def test_requests_and_keys_of_plain_questions_stay_as_they_are() -> None:
    found = []
    for question in (CRITERION, Question("rating", "a\nb"), Question("grade", "all")):
        for structured in (True, False):
            judge = config(structured=structured, extra_body={"seed": 3})
            renderer = Renderer(judge)
            request = renderer.render(job("b"), question)
            body = renderer.body(
                renderer.sheet([request]), "judge", with_schema=structured, resamples=1
            )
            found.append([request.key.hex(), body.decode()])
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    # Users pay again for all their verdicts whenever this changes.
    assert digest[:16] == "ae5e5fcba38a51c4"


@settings(deadline=None)
@given(text=any_text, reference=any_text, expected=st.booleans())
def test_a_question_arrives_as_it_was_sent(text: str, reference: str, expected: bool) -> None:
    asked = Question(
        "criterion", text, sees="everything", reference=reference, scale=SCALE, expected=expected
    )
    sent = Job(conversation=(), response="a", questions=(asked, CRITERION))
    assert Job.from_json(json.loads(json.dumps(sent.to_json()))) == sent
    assert asdict(asked)["reference"] == reference


@settings(deadline=None)
@given(
    reference=words, response=any_text, criteria=st.lists(words, min_size=2, max_size=4),
    low=lines, high=lines, template=st.sampled_from([None, TEMPLATE]),
)  # fmt: skip
def test_a_sheet_shows_the_same_and_everything_stays_in_its_block(
    reference: str, response: str, criteria: list[str], low: str, high: str,
    template: JudgeTemplate | None,
) -> None:  # fmt: skip
    shared = replace(CRITERION, reference=reference, scale=((0.0, low), (1.0, high)))
    asked = [replace(shared, text=text) for text in criteria]
    names = [f"LABEL{'X' * number}" for number in range(len(asked))]
    system, user = sheet_messages(job(response), asked, names, True, template)
    turn, grades = "Capital of France?", f"0: {low}\n1: {high}"
    given = [turn, reference, response, *criteria, grades]
    if template is not None:
        given = [*criteria, grades, turn, reference, response]
    assert blocks(user["content"]) == list(map(harmless, given))
    usual = [
        replace(each, text="a", reference="b", scale=((0.0, "c"), (1.0, "d"))) for each in asked
    ]
    plain = sheet_messages(job("e"), usual, names, True, template)
    assert (system, around(user["content"])) == (plain[0], around(plain[1]["content"]))
    assert '"grade": N} where N is one of 0, 1' in system["content"]
    assert ("Judge each criterion by itself" in system["content"]) == (template is None)


def graded(body: Mapping[str, Any]) -> web.Response:
    """The verdict on each criterion of a sheet, which its first letter tells."""
    said = {}
    for label, text in sheets.criteria(body).items():
        is_graded = "Grades:" in body["messages"][-1]["content"]
        said[label] = {"grade": "nps".index(text[0])} if is_graded else {"met": text[0] == "p"}
    return web.json_response(completion(json.dumps(said)))


def test_criteria_with_the_same_grades_share_a_call_and_have_a_grade_each(tmp_path: Path) -> None:
    file = tmp_path / "judge.txt"
    file.write_text("Strictly.\n<<response>>\n<<criterion>>")
    asked = [replace(CRITERION, text=text, scale=SCALE) for text in ("none", "part", "so")]
    asked += [replace(CRITERION, text=text) for text in ("none", "part")]
    sent = replace(job("a"), questions=tuple(asked))
    with FakeEndpoint(script=graded) as endpoint:
        settings = config(file, criteria_per_call="all", cache=None)
        settings = settings.model_copy(update={"endpoints": (EndpointConfig(url=endpoint.url),)})

        async def ask() -> list[Answer]:
            async with Asker(settings) as asker:
                return await asker.answer(sent)

        answers = asyncio.run(ask())
    assert [answer.value for answer in answers] == [0, 0.5, 1, 0, 1]
    assert sorted(len(sheets.criteria(body)) for body in endpoint.seen.bodies) == [2, 3]
    shown = [body["messages"][-1]["content"] for body in endpoint.seen.bodies]
    assert all(text.startswith("Strictly.\n=====\na\n=====\nCriterion ") for text in shown)


def test_another_template_is_another_judge_of_rewards() -> None:
    first, second = (config(Path(name)) for name in ("a.txt", "b.txt"))
    assert identity(first) != identity(second)
    assert identity(config()) == identity(config(timeout_s=7))
