"""A grade weighed by log-probabilities is their mean, or missing with a reason; never guessed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import RewardError
from rvpo.judge.client.probe import probe
from rvpo.judge.hint import hint
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.verdict import read
from rvpo.judge.worker.probability import Unweighable, expected
from rvpo.scale import scale_of
from rvpo.trainer.rehearsal import rehearse_judge
from tests.judge.server import FakeEndpoint, Script, completion
from tests.judge.worker.test_asker import ask, config

MET = Question("criterion", "Is kind.", expected=True)
GRADED = Question(
    "criterion", "Is kind.", scale=scale_of({0: "not", 1: "partly", 2: "fully"}), expected=True
)


def token(text: str, **others: float) -> dict[str, Any]:
    """A token of probability 1, or one among others with theirs; `_` stands for a space."""
    chances = {name.replace("_", " "): chance for name, chance in others.items()} or {text: 1.0}
    top = [
        {"token": name, "logprob": math.log(chance), "bytes": list(name.encode())}
        for name, chance in chances.items()
    ]
    return {
        "token": text,
        "logprob": math.log(chances.get(text, 1e-9)),
        "bytes": list(text.encode()),
        "top_logprobs": top,
    }


def weigh(question: Question, tokens: Sequence[Mapping[str, Any]], text: str = "") -> float:
    text = text or "".join(token["token"] for token in tokens)
    return expected(question, text, read(question, text)[0], {"content": list(tokens)})


def test_the_mean_is_over_the_grades_at_the_place_of_the_grade() -> None:
    tokens = [token('{"grade":'), token(" 1", _0=0.2, _1=0.5, _2=0.3), token("}")]
    assert weigh(GRADED, tokens) == pytest.approx(0.2 * 0 + 0.5 * 0.5 + 0.3 * 1)


def test_met_or_not_is_weighed_too() -> None:
    tokens = [token('{"met":'), token(" true", _true=0.6, _false=0.2, _maybe=0.2), token("}")]
    assert weigh(MET, tokens) == pytest.approx(0.75)


def test_spellings_of_a_grade_count_together() -> None:
    tokens = [
        token("{'grade': "),
        token("2", **{"2": 0.3, " 2": 0.1, "2}": 0.1, '"2': 0.1, "fully": 0.2, "0": 0.2}),
        token("}"),
    ]
    assert weigh(GRADED, tokens) == pytest.approx(0.8)


def test_grades_in_words_and_in_quotes_are_weighed() -> None:
    tokens = [token('{"grade": "'), token("part", part=0.5, full=0.25, no=0.25), token('ly"}')]
    assert weigh(GRADED, tokens) == pytest.approx(0.5)


def test_what_begins_no_grade_counts_for_none() -> None:
    chances = {" 1": 0.6, " 10": 0.1, " 1.5": 0.1, " x": 0.1, "": 0.1}
    tokens = [token('{"grade":'), token(" 1", **chances), token("}")]
    assert weigh(GRADED, tokens) == pytest.approx(0.5)


NUMBERED = {0: "2 or more errors", 1: "1 error", 2: "0 errors"}
WORDED = {0: "not at all", 1: "partly", 2: "perfectly"}
RUSSIAN = {0: "нет", 1: "отчасти", 2: "да"}


@pytest.mark.parametrize(
    ("scale", "chosen", "chances"),
    [
        (NUMBERED, "1", {"0": 0.05, "1": 0.55, "2": 0.4}),
        (WORDED, "not", {"not": 0.55, "p": 0.3, "partly": 0.15}),
        (WORDED, "p", {"p": 0.9, "not": 0.1}),
        (WORDED, "not", {"not": 0.6, " P": 0.06, "1": 0.34}),
        ({1: "present", 2: "perfect"}, "1", {"1": 0.9, "p": 0.1}),
        ({0: "low", 1: "lower", 2: "high"}, "high", {"high": 0.9, "low": 0.1}),
        (WORDED, "1", {"1": 0.9, '"': 0.1}),
        (WORDED, "1", {"1": 0.9, "\n ": 0.1}),
        (RUSSIAN, "1", {"1": 0.9, "\ufffd": 0.1}),
    ],
)
def test_probability_of_what_may_begin_several_grades_is_hidden(
    scale: Mapping[int, str], chosen: str, chances: Mapping[str, float]
) -> None:
    question = replace(GRADED, scale=scale_of(scale))
    value = {"not": '"not at all"', "p": '"partly"', "high": '"high"'}.get(chosen, chosen)
    opening, rest = value.split(chosen)
    tokens = [token('{"grade": ' + opening), token(chosen, **chances), token(rest + "}")]
    with pytest.raises(Unweighable, match="do not tell the grades apart"):
        weigh(question, tokens)


def test_a_little_of_what_may_begin_several_grades_does_no_harm() -> None:
    question = replace(GRADED, scale=scale_of(WORDED))
    chances = {"1": 0.5, "0": 0.25, "2": 0.21, "p": 0.04}
    tokens = [token('{"grade": '), token("1", **chances), token("}")]
    assert weigh(question, tokens) == pytest.approx((0.25 + 0.21) / 0.96)
    # Together with what is not listed it is too much.
    tokens[1] = token("1", **{"1": 0.86, "0": 0.06, "p": 0.04})
    with pytest.raises(Unweighable, match="too few tokens"):
        weigh(question, tokens)


@pytest.mark.parametrize(("drawn", "hidden"), [(0.001, True), (0.03, True), (0.001, False)])
def test_only_the_tokens_that_are_listed_bound_those_that_are_not(
    drawn: float, hidden: bool
) -> None:
    """Two are listed, and a third was drawn, less likely than some that are not listed."""
    listed = {"1": 0.52, "2": 0.2} if hidden else {"1": 0.8, "2": 0.199}
    place = token("0", **listed)
    place["logprob"] = math.log(drawn)
    three = [token('{"grade": '), place, token("}")]
    question = replace(GRADED, scale=scale_of([0, 1, 2, 3]))
    if not hidden:
        assert weigh(question, three) == pytest.approx(0.8 / 3 + 0.199 * 2 / 3)
        return
    with pytest.raises(Unweighable, match="too few tokens"):
        weigh(question, three)


def test_parts_of_characters_are_tokens_of_their_own() -> None:
    question = replace(GRADED, scale=scale_of(RUSSIAN))
    place = token("1", **{"1": 0.7, "0": 0.15, "2": 0.09})
    place["top_logprobs"] += [
        {"token": "\ufffd", "bytes": [byte], "logprob": math.log(0.03)} for byte in (0xD0, 0xD1)
    ]
    with pytest.raises(Unweighable, match="do not tell the grades apart"):
        weigh(question, [token('{"grade": '), place, token("}")])


@pytest.mark.parametrize("spelling", ["1", "1.0", "1.", " 1.00,"])
def test_a_grade_with_decimals_is_that_grade(spelling: str) -> None:
    tokens = [token('{"grade": '), token("2", **{"2": 0.5, spelling: 0.5}), token("}")]
    assert weigh(GRADED, tokens) == pytest.approx(0.75)


@settings(deadline=None)
@given(
    words=st.lists(st.text("npart 12", min_size=1, max_size=6), min_size=3, max_size=3),
    shares=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3),
    cut=st.integers(1, 6),
)
def test_a_mean_that_is_told_is_never_far_from_the_truth(
    words: list[str], shares: list[float], cut: int
) -> None:
    """Replies in words, of which the endpoint shows the first characters."""
    try:
        scale = scale_of(dict(enumerate(words)))
    except ValueError:
        return
    question = replace(GRADED, scale=scale)
    chances: dict[str, float] = {}
    for (_, word), share in zip(scale, shares, strict=True):
        chances[word[:cut]] = chances.get(word[:cut], 0.0) + share / sum(shares)
    word = scale[1][1]
    tokens = [token('{"grade": "'), token(word[:cut], **chances), token(word[cut:] + '"}')]
    try:
        found = weigh(question, tokens)
    except Unweighable:
        return
    assert found == pytest.approx((shares[1] / 2 + shares[2]) / sum(shares), abs=0.06)


@pytest.mark.parametrize(
    "before",
    [
        [token('{"grade": '), token("0"), token('}</think>\n{"reason": "{ \\"grade\\": 0 }", ')],
        [token("<think>"), token('"grade": 0}'), token("</think>"), token('{"reason": "so", ')],
        [token('Here is my verdict:\n```json\n{"reason": "so", ')],
    ],
)
def test_no_other_grade_is_taken_for_the_verdict(before: list[dict[str, Any]]) -> None:
    tokens = [*before, token('"grade":'), token(" 2", _2=0.75, _0=0.25), token("}")]
    said = "".join(each["token"] for each in tokens)
    text = said.rpartition("</think>")[2] + ("\n```" if "```" in said else "")
    assert weigh(GRADED, tokens, text) == pytest.approx(0.75)


def test_a_grade_before_its_reason_is_the_one_that_is_weighed() -> None:
    tokens = [
        token('{"grade":'), token(" 2", _2=0.75, _0=0.25),
        token(', "reason": "not \'grade\':'), token(" 0"), token('"}'),
    ]  # fmt: skip
    assert weigh(GRADED, tokens) == pytest.approx(0.75)


def test_characters_may_be_spread_over_tokens() -> None:
    smile = "\U0001f600".encode()
    halves = [{"token": "\ufffd", "bytes": list(half)} for half in (smile[:2], smile[2:])]
    tokens = [token('{"reason": "'), *halves, token('", "grade":'), token(" 1", _1=0.5, _2=0.5)]
    text = '{"reason": "\U0001f600", "grade": 1}'
    assert weigh(GRADED, [*tokens, token("}")], text) == pytest.approx(0.75)


@settings(deadline=None)
@given(
    chances=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3),
    chosen=st.integers(0, 2),
    cuts=st.sets(st.integers(1, 20), max_size=5),
)
def test_the_mean_does_not_depend_on_how_the_reply_is_cut(
    chances: list[float], chosen: int, cuts: set[int]
) -> None:
    shares = [chance / sum(chances) for chance in chances]
    head = '{"reason": "So.", "grade": '
    places = [0, *sorted(cuts), len(head)]
    pieces = [token(head[a:b]) for a, b in pairwise(places)]
    grade = token(str(chosen), **{str(i): share for i, share in enumerate(shares)})
    found = weigh(GRADED, [*pieces, grade, token("}")])
    assert found == pytest.approx(shares[1] / 2 + shares[2])


NO = "no log-probabilities"
OTHER = "log-probabilities are of another text"
FEW = "log-probabilities of too few tokens"
APART = "log-probabilities do not tell the grades apart"


@pytest.mark.parametrize(
    ("logprobs", "told"),
    [
        (None, NO),
        ({}, NO),
        ([], NO),
        ({"content": None}, NO),
        ({"content": []}, NO),
        ({"content": "x"}, NO),
        ({"tokens": ['{"met": true}'], "token_logprobs": [-0.1]}, NO),
        ({"content": [{}]}, OTHER),
        ({"content": [None, 3, {"token": 5}]}, OTHER),
        ({"content": [token('{"met": false}')]}, OTHER),
        ({"content": [token('{"met": '), {"token": "true"}, token("}")]}, APART),
        ({"content": [token('{"met": '), {"token": "true", "logprob": "high"}, token("}")]}, APART),
        ({"content": [token('{"met": '), token("true", true=0.3, yes=0.7), token("}")]}, APART),
        ({"content": [token('{"met": true}')]}, APART),
        ({"content": [token('{"met": '), token("true", true=0.99), token("}")]}, FEW),
        ({"content": [token('{"met": '), token("true", true=0.6, yes=0.2), token("}")]}, FEW),
        ({"content": [token('{"met": '), token("true", false=0.9), token("}")]}, None),
    ],
)
def test_log_probabilities_that_tell_nothing_give_no_grade(logprobs: Any, told: str | None) -> None:
    text = '{"met": true}'
    if told is None:
        assert expected(MET, text, 1.0, logprobs) == pytest.approx(0.0, abs=1e-6)
        return
    with pytest.raises(Unweighable) as refused:
        expected(MET, text, 1.0, logprobs)
    assert str(refused.value) == told


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["true", "false", '{"met": ', "}"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["content", "token", "logprob", "bytes", "top_logprobs"]), inner, max_size=5
    ),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(logprobs=json_values)
def test_any_log_probabilities_give_a_grade_or_none(logprobs: Any) -> None:
    try:
        value = expected(MET, '{"met": true}', 1.0, logprobs)
    except Unweighable:
        return
    assert 0 <= value <= 1


def gives(chance: float | None) -> Script:
    """A judge that meets everything with this probability, and says so if there is one."""

    def script(body: Mapping[str, Any]) -> web.Response:
        reply = completion('{"met": true}')
        if chance is not None and body.get("logprobs"):
            weighed = token("true", true=chance, false=1 - chance)
            reply["choices"][0]["logprobs"] = {"content": [token('{"met": '), weighed, token("}")]}
        return web.json_response(reply)

    return script


def job(*questions: Question) -> Job:
    return Job(conversation=(), response="a", questions=questions)


def test_log_probabilities_are_asked_for_where_they_count_and_nowhere_else(tmp_path: Any) -> None:
    plain = Question("criterion", "Is kind.")
    with FakeEndpoint(script=gives(0.75)) as endpoint:
        kept = config(endpoint.url, cache=str(tmp_path / "cache"))
        weighed, usual = ask(kept, job(MET, plain))
        again, _ = ask(kept, job(MET, plain))
    assert (weighed.value, usual.value) == (pytest.approx(0.75), 1.0)
    assert (again.value, again.usage.cached) == (weighed.value, True)
    asked = {body.get("logprobs"): body.get("top_logprobs") for body in endpoint.seen.bodies}
    assert asked == {True: 20, None: None}


def test_another_number_of_log_probabilities_can_be_asked_for() -> None:
    with FakeEndpoint(script=gives(0.75)) as endpoint:
        ask(config(endpoint.url, extra_body={"top_logprobs": 5}), job(MET))
    assert endpoint.seen.bodies[0]["top_logprobs"] == 5


def test_without_log_probabilities_the_grade_is_missing_and_not_the_verdict() -> None:
    with FakeEndpoint(script=gives(None)) as endpoint:
        (answer,) = ask(config(endpoint.url), job(MET))
    assert (answer.value, answer.failure) == (None, NO)
    assert len(endpoint.seen.bodies) == 1


def test_an_endpoint_that_gives_them_answers_for_one_that_does_not() -> None:
    with FakeEndpoint(script=gives(None)) as without, FakeEndpoint(script=gives(0.75)) as with_them:
        answers = [ask(config(without.url, with_them.url), job(MET))[0] for _ in range(4)]
    assert [answer.value for answer in answers] == [pytest.approx(0.75)] * 4


def test_the_first_question_finds_out_before_anything_is_spent() -> None:
    with FakeEndpoint(script=gives(None)) as endpoint:
        usual, weighed = (probe(config(endpoint.url), weighed=each) for each in (False, True))
        with pytest.raises(RewardError, match=f"{NO}; grade: probability needs an endpoint"):
            rehearse_judge(config(endpoint.url), print, weighed=True)
        assert rehearse_judge(config(endpoint.url), print) is not None
    assert (usual.value, weighed.failure) == (1.0, NO)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("logprobs is not supported with this model", "grade: verdict"),
        ("Unrecognized request argument supplied: top_logprobs", "grade: verdict"),
        ("top_logprobs must be less than or equal to 5", "top_logprobs: N"),
    ],
)
def test_a_refusal_of_log_probabilities_says_what_to_do(said: str, told: str) -> None:
    assert told in hint("http 400", said)


def test_an_answer_of_any_grade_travels() -> None:
    answer = Answer(value=0.123)
    assert Answer.from_json(json.loads(json.dumps(answer.to_json()))) == answer
