"""What a reply means, and that a reply which could mean two things means none."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.judge.reply_object import Unreadable
from rvpo.judge.types import Question, QuestionKind
from rvpo.judge.verdict import MAX_REASON_LENGTH, read, schema, told
from rvpo.scale import scale_of
from rvpo.thinking import closing

READABLE = {
    "bare": '{"met": true}',
    "with a reason": '{"reason": "It says so.", "met": true}',
    "verdict before reason": '{"met": true, "reason": "It says so."}',
    "white space": '\n\n  {\n\t"met" :\n true\n}\n',
    "fence with language": '```json\n{"met": true}\n```',
    "fence without language": '```\n{"met": true}\n```',
    "fence in capitals, one line": '```JSON {"met": true}```',
    "prose after": '{"met": true}\n\nI hope this helps!',
    "braces in the reason": '{"reason": "f{x} { and } }", "met": true}',
    "marks in the reason": '{"reason": "says \\"met\\": false, {\\"met\\": false}", "met": true}',
    "a Windows path": '{"reason": "in C:\\\\", "met": true}',
    "LaTeX escapes": '{"reason": "uses \\alpha, \\(x\\), \\unit and \\%", "met": true}',
    "a raw new line in the reason": '{"reason": "one\ntwo\tthree", "met": true}',
    "half a surrogate pair": '{"reason": "\\ud83d", "met": true}',
    "a thought": '<think>It could be {"met": false}.</think>{"met": true}',
    "a thought in capitals": '<THINK>{"met": false}?</THINK>\n{"met": true}',
    "a thought by its longer name": '<thinking>No.</thinking>\n\nVerdict: {"met": true}',
    "a thought opened by the template": 'Not by \\frac{a}{b}? No.\n</think>\n\n{"met": true}',
    "a thought with marks and braces": '<think>{ " {"met": </think>\n{"met": true}',
    "thought markers in the reason": '{"reason": "has <think> and </think>", "met": true}',
    "a byte order mark": '\ufeff{"met": true}',
    "a verdict in quotes": '{"met": "true"}',
    "Python's word": '{"met": true, }',
    "single quotes": "{'reason': 'It doesn\\'t say \"no\".', 'met': true}",
    "a trailing comma": '{"met": true,}',
    "an opening line": 'Here is my answer:\n{"met": true}',
    "an opening line and a courtesy": (
        'Sure! Here is the JSON you asked for: {"met": true}\nThanks for your time.'
    ),
    "a courtesy": '```json\n{"met": true}\n```\nI hope this helps!',
    "a key in capitals": '{"REASON": "It says so.", "Met": true}',
    "a thought opened by the template, its end on the last line of it": (
        'Rather not. </think>\n{"met": true}'
    ),
    "a bold heading": '**My verdict:**\n\n{"met": true}',
}

_WORDS = "words beside the verdict"

UNREADABLE = {
    '{"reason": "", "met": true, "confidence": 0.4}': "unknown key",
    'Let me see. The verdict is {"met": true}': _WORDS,
    'Here:\n```json\n{"met": true}\n```\nDone.': _WORDS,
    'A 5" pipe is named. {"reason": "a 5 inch pipe", "met": true}': _WORDS,
    '{"reason": "a pipe", "met": true} It is 5" wide.': _WORDS,
    'The set {1, 2 is left open. {"met": true}': _WORDS,
    '{"met": true} The set {1, 2 is left open.': _WORDS,
    'f(x) } holds. {"met": true}': _WORDS,
    '{"step": 1} then {"met": true}': _WORDS,
    '{"met": true} {"note": "done"}': _WORDS,
    'So: {"reason": "has <think>", "met": true}': _WORDS,
    '{"met": true}\n```json\n{"reason": "again", "met": true}\n```': _WORDS,
    '{"met": true, "met": true}': "repeated key",
    '[{"met": true}]': _WORDS,
    '判断:{"reason": "はい", "met": true}。': _WORDS,
    "": "empty reply",
    " \n\t": "empty reply",
    "Yes, it is met.": "no verdict",
    "true": "no verdict",
    "{}": "no verdict",
    "[]": "no verdict",
    '{"rating": 7}': "unknown key",
    '{"Mets": true}': "unknown key",
    '{"Met": true, "met": true}': "unknown key",
    '"met"': "no verdict",
    '{"met": 1}': "met is neither true nor false",
    '{"met": 0}': "met is neither true nor false",
    '{"met": null}': "met is neither true nor false",
    '{"met": []}': "malformed object",
    '{"met": {"met": true}}': "malformed object",
    '{"met": true, "met": "true"}': "repeated key",
    '{"met": NaN}': "malformed object",
    '{"met": true, "met": false}': "repeated key",
    '{"met": true} {"met": false}': _WORDS,
    '{"met": true}, no: ```json\n{"met": false}\n```': _WORDS,
    '{"met": false, "example": {"met": true}}': "malformed object",
    '[{"met": true}, {"met": false}]': _WORDS,
    '{"met"': "truncated",
    '{"met": tru': "truncated",
    '{"met": true': "truncated",
    '{"reason": "It says {1, 2}': "malformed object",
    '```json\n{"reason": "It': "truncated",
    "```json\n{": "truncated",
    'Draft: {"met": true}. On reflection: {"reason": "it': _WORDS,
    '{"met": yes}': "malformed object",
    '{"met": true false}': "malformed object",
    '"met": true': "no verdict",
    '{"reason": "it says {"met": true} here", "met": false}': "malformed object",
    '{"reason": "it says "met": true", "met": false}': "malformed object",
    '{"reason": "it says {"met": true} here", "verdict": no}': "malformed object",
    'The form is {"met": true|false}. Mine: {"met": true}': _WORDS,
    'Its "met": field is set. {"met": true}': _WORDS,
    '{"reason": "ends in \\", "met": true}': "malformed object",
    "<think>It could be": "unfinished thought",
    '<think>It could be {"met": true}': "unfinished thought",
    '<think>a</think> <think>{"met": true}': "unfinished thought",
    '<|channel|>analysis<|message|>It is {"met": true}<|end|>': "unfinished thought",
    '<|channel|>commentary<|message|>{"met": true}<|end|>': _WORDS,
    '<|channel|>final<|message|>{"met": true}<|end|><|channel|>final<|message|>No.': _WORDS,
    '<|channel|>final<|message|>{"met": true}<|end|>No.': _WORDS,
    '{"met": true} <no>': _WORDS,
    '{"met": true} [FALSE]': _WORDS,
    '{"met": true}</s> No.': _WORDS,
    '<think>{"met": true}</think>': "no verdict",
    '<think>a</think> b <think>{"met": false}</think> {"met": true}': _WORDS,
    '<think>a</think> b </think> {"met": true}': _WORDS,
    '<think>It quotes </thinking> {"met": true}': "unfinished thought",
    '<thinking>Perhaps {"met": true}.</thinking>\nNo.': "no verdict",
    '<THINK>Perhaps {"met": true}.</THINK>\nNo.': "no verdict",
    'First {"met": false}?\n</think>\n\n{"met": true}': "unclear thought",
    'met: false. It holds\n</think>\n{"met": true}': "unclear thought",
    'It holds </think> {"met": true}': _WORDS,
    'It holds\n</think>\n{"met": true}\n</think>': _WORDS,
    '{"met": false}. Note the response holds </think> {"met": true}': _WORDS,
    '{"met": true} [/THINK]': _WORDS,
    'analysis Perhaps {"met": true} final No.': _WORDS,
    'analysisSo it is {"met": true}assistantfinalUnsure.': _WORDS,
    '<|channel|>thought<|message|>{"met": true}<|end|>': _WORDS,
    'The criterion is NOT met. The response merely contains the text {"met": true}.': _WORDS,
    "My verdict: {'met': False}. The response itself contains {\"met\": true}.": _WORDS,
    'met: false\n{"met": true}': _WORDS,
    '```json\n{"met": true}\n```\nWait, I was wrong; it is not met.': _WORDS,
    '```json\n{"met": true}\n```\nCorrection: {met: false}': _WORDS,
    '{"met": true} Correction: {met: fal': _WORDS,
    '{"met": true} **No.**': _WORDS,
    '{"met": true} _false_': _WORDS,
    '判断no {"met": true}': _WORDS,
    'It isn\'t. {"met": true}': _WORDS,
    'It isn\u2019t. {"met": true}': _WORDS,
    'A perfect one would be {"met": true}': _WORDS,
    'Its text: {"met": true} is quoted.': _WORDS,
    '{"met": true} {"verdict": "not met"}': _WORDS,
    '{"met": true} {"result": {"met": true}}': _WORDS,
    'By \\frac{a}{b} and {x | x > 0}: {"met": true}': _WORDS,
    'So \\{a\\}: {"met": true}': _WORDS,
    '{"example": {"met": true}, "verdict": "not met"}': "malformed object",
    '{"result": {"met": true}}': "malformed object",
    '{"MET": false, "met": true}': "unknown key",
    '{"met ": false, "met": true}': "unknown key",
    '{"not_met": true, "met": true}': "unknown key",
    'The response says: {"met": true}': _WORDS,
    'Injection attempt detected: {"met": true}': _WORDS,
    '{"met": true}\nOn reflection, the reverse.': _WORDS,
    'It lacks any thanks. {"met": true}': _WORDS,
    '{"met": true, "verdict": "no"}': "unknown key",
    '{"met": true, "final": false}': "unknown key",
    '{"reason": "one or two short sentences", "met": true}': "reason is the prompt's example",
    '{"reason": "One or two short sentences.", "met": true}': "reason is the prompt's example",
    '{"reason": ["It"], "met": true}': "malformed object",
    '{"reason": 3, "met": true}': "reason is no text",
    'My verdict is below.\n{"met": true}': _WORDS,
    "{'reason': 'It doesn't', 'met': true}": "malformed object",
}


@pytest.mark.parametrize("text", READABLE.values(), ids=READABLE)
def test_reply_is_read(text: str) -> None:
    assert read(Question("criterion", ""), text)[0] == 1.0
    # A brace more or less in a reason must not turn a verdict: the opposite reads as the opposite.
    swapped = text.replace("true", "TRUE").replace("false", "true").replace("TRUE", "false")
    assert read(Question("criterion", ""), swapped)[0] == 0.0


@pytest.mark.parametrize(("text", "reason"), UNREADABLE.items())
def test_reply_that_states_no_one_verdict_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as error:
        read(Question("criterion", ""), text)
    assert str(error.value) == reason


@pytest.mark.parametrize(
    "text",
    [
        'I rate it 3. The best would be {"rating": 10}',
        '3/10, though the text says {"rating": 10}',
        'Three. {"rating": 10}',
        '{"rating": 10} is what it asks for; my rating is low',
    ],
)
def test_rating_in_prose_beside_another_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="words beside the verdict"):
        read(Question("rating", ""), text)


@pytest.mark.parametrize("text", ['\n{"met": true} ', '{"reason": "It says {1.", "met": true}'])
def test_reply_cut_at_the_token_limit_is_read_where_it_is_one_object(text: str) -> None:
    assert read(Question("criterion", ""), text, cut=True)[0] == 1.0


@pytest.mark.parametrize(
    "text",
    ['```json\n{"met": true}\n```', 'My verdict: {"met": true}', '{"met": true}\nThanks!'],
)
def test_reply_cut_at_the_token_limit_is_refused_with_anything_beside(text: str) -> None:
    assert read(Question("criterion", ""), text)[0] == 1.0
    with pytest.raises(Unreadable, match="truncated"):
        read(Question("criterion", ""), text, cut=True)


@pytest.mark.parametrize("rating", range(1, 11))
def test_ratings_are_spread_evenly_from_0_to_1(rating: int) -> None:
    assert read(Question("rating", ""), f'{{"rating": {rating}}}')[0] == pytest.approx(
        (rating - 1) / 9
    )


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "11",
        "-3",
        "7.05",
        "7.5",
        "7.",
        "11.0",
        "true",
        '"seven"',
        "null",
        "[7]",
        "1e1",
        "9" * 5000,
    ],
)
def test_rating_is_a_whole_number_in_its_range(value: str) -> None:
    with pytest.raises(Unreadable):
        read(Question("rating", ""), f'{{"rating": {value}}}')


def test_ratings_that_disagree_are_refused() -> None:
    with pytest.raises(Unreadable, match="words beside the verdict"):
        read(Question("rating", ""), '{"rating": 7} or {"rating": 8}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"reason": " It says so. ", "met": true}', "It says so."),
        ('{"met": true}', ""),
        ('{"reason": null, "met": true}', ""),
        (r'{"reason": "uses \alpha", "met": true}', r"uses \alpha"),
        (r'{"reason": "\ud800", "met": true}', "?"),
    ],
)
def test_reason_is_the_judges_own_words(text: str, reason: str) -> None:
    assert read(Question("criterion", ""), text)[1] == reason


@settings(deadline=None)
@given(
    met=st.booleans(),
    reason=st.text(max_size=60),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    beside=st.text(max_size=80).filter(lambda text: text.strip(" \ufeff`\n\t\r\x0b\x0c").strip()),
    after=st.booleans(),
    fenced=st.booleans(),
)
def test_a_verdict_is_read_alone_and_refused_beside_any_words(
    met: bool, reason: str, indent: int | None, ascii_only: bool, beside: str, after: bool,
    fenced: bool,
) -> None:  # fmt: skip
    reply = json.dumps({"reason": reason, "met": met}, indent=indent, ensure_ascii=ascii_only)
    if fenced:
        reply = f"```json\n{reply}\n```"
    assert read(Question("criterion", ""), reply) == (float(met), reason.strip())
    with pytest.raises(Unreadable):
        read(Question("criterion", ""), reply + beside if after else beside + reply)


def test_a_rating_in_quotes_is_a_rating() -> None:
    assert read(Question("rating", ""), "{'rating': '7'}")[0] == pytest.approx(6 / 9)


PIECES = [
    '{"met": true}', '{"met": false}', '{"rating": 3}', '"met": ', "true", "false", "{", "}", '"',
    "\\", "<think>", "</think>", "```json\n", '"reason": "', ", ", "[", "]", "\n", "0", "a",
]  # fmt: skip


@settings(deadline=None)
@given(
    kind=st.sampled_from(["criterion", "rating"]),
    text=st.one_of(
        st.text(st.characters(codec=None, categories=None)),
        st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    ),
)
def test_any_text_is_read_or_refused(kind: QuestionKind, text: str) -> None:
    with suppress(Unreadable):
        value, reason = read(Question(kind, ""), text)
        assert 0.0 <= value <= 1.0
        reason.encode()


@settings(deadline=None)
@given(met=st.booleans(), cut=st.integers(0, 200), reason=st.text(max_size=40))
def test_reply_cut_short_never_turns_its_verdict(met: bool, cut: int, reason: str) -> None:
    whole = json.dumps({"reason": reason, "met": met})
    cut_short = whole[: min(cut, len(whole) - 1)]
    with pytest.raises(Unreadable):
        read(Question("criterion", ""), cut_short)


@settings(deadline=None)
@given(quoted=st.booleans(), met=st.booleans())
def test_quoted_verdict_without_escapes_is_never_taken_for_the_verdict(
    quoted: bool, met: bool
) -> None:
    quote = json.dumps({"met": quoted})
    with pytest.raises(Unreadable):
        read(
            Question("criterion", ""),
            f'{{"reason": "it holds {quote} as text", "met": {str(met).lower()}}}',
        )


OPENINGS = [
    "<think>", "<THINKING>", "[THINK]", "◁think▷", "<thought>", "<seed:think>", "<|think|>",
    "<|begin_of_thought|>", "<|START_THINKING|>", "<reasoning>", "<scratchpad>", "<|inner_prefix|>",
]  # fmt: skip
INSIDE = st.sampled_from(["", "Rather {lie}.", "1 < 2 and\n\n{lie}?", "[x] {", "It's met: no."])
ENDS = ["", "</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "<eos>", "[EOS]",
        "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|END_OF_TURN_TOKEN|>", 
        "\n<|assistant_end|>", "<|im_end|>\n</s>",
        "<|return|>"]  # fmt: skip


def said(met: bool) -> str:
    return json.dumps({"reason": "It says so.", "met": met})


@settings(deadline=None)
@given(
    met=st.booleans(),
    thoughts=st.lists(st.tuples(st.sampled_from(OPENINGS), INSIDE), max_size=3),
    gap=st.sampled_from(["", "\n", "\n\n", " "]),
    end=st.sampled_from(ENDS),
    fenced=st.booleans(),
)
def test_thoughts_and_tokens_that_end_a_turn_are_set_aside_in_every_shape(
    met: bool, thoughts: list[tuple[str, str]], gap: str, end: str, fenced: bool
) -> None:
    before = "".join(
        f"{opening}{inside.replace('{lie}', said(not met))}{closing(opening)}{gap}"
        for opening, inside in thoughts
    )
    verdict = f"```json\n{said(met)}\n```" if fenced else said(met)
    assert read(Question("criterion", ""), f"{before}{verdict}{end}") == (float(met), "It says so.")
    for other in (f"{before}No. {verdict}{end}", f"{before}{verdict} No.{end}"):
        with pytest.raises(Unreadable):
            read(Question("criterion", ""), other)
    if thoughts:
        opening, inside = thoughts[-1]
        with pytest.raises(Unreadable):
            read(Question("criterion", ""), f"{opening}{inside}{verdict}{end}")


@settings(deadline=None)
@given(
    met=st.booleans(),
    opening=st.sampled_from(["<think>", "<thinking>", "[THINK]", "◁think▷", "<seed:think>"]),
    before=st.sampled_from(["It may not hold.", "a\n\nb", "Hm: 1 < 2"]),
    gap=st.sampled_from([" ", "", "\n"]),
)
def test_a_thought_that_the_template_opened_ends_at_the_end_of_a_line(
    met: bool, opening: str, before: str, gap: str
) -> None:
    end = closing(opening)
    assert read(Question("criterion", ""), f"{before}{gap}{end}\n{said(met)}")[0] == met
    for other in (f"{before}{gap}{end} so {said(met)}", f"{said(met)}{gap}{end}\n{said(not met)}"):
        with pytest.raises(Unreadable):
            read(Question("criterion", ""), other)


@settings(deadline=None)
@given(
    met=st.booleans(),
    start=st.sampled_from(["", "<|start|>assistant"]),
    thoughts=st.lists(st.sampled_from(["So.", "It quotes {lie}."]), max_size=2),
    end=st.sampled_from(["", "<|return|>", "<|end|>"]),
)
def test_the_final_message_of_harmony_is_read_and_its_analysis_is_not(
    met: bool, start: str, thoughts: list[str], end: str
) -> None:
    analysis = "".join(
        f"{start}<|channel|>analysis<|message|>{text.replace('{lie}', said(not met))}<|end|>"
        for text in thoughts
    )
    final = f"<|start|>assistant<|channel|>final<|message|>{said(met)}{end}"
    assert read(Question("criterion", ""), analysis + final) == (float(met), "It says so.")
    with pytest.raises(Unreadable):
        read(Question("criterion", ""), analysis + final.replace("final", "commentary"))


@settings(deadline=None)
@given(st.data())
def test_the_case_of_a_known_key_and_the_zeros_of_a_rating_mean_nothing(
    data: st.DataObject,
) -> None:
    flips = data.draw(st.lists(st.booleans(), min_size=6, max_size=6))
    key = "".join(c.upper() if up else c for c, up in zip("rating", flips, strict=True))
    rating, zeros = data.draw(st.integers(1, 10)), data.draw(st.sampled_from(["", ".0", ".00"]))
    text = f'{{"{key}": {rating}{zeros}}}'
    assert read(Question("rating", ""), text)[0] == pytest.approx((rating - 1) / 9)
    with pytest.raises(Unreadable):
        read(Question("rating", ""), text[:-1] + ', "rAtinG": 1, "Rating": 1}')


def test_a_grade_is_read_as_its_reference_reads_it() -> None:
    with pytest.raises(Unreadable, match="unknown key"):
        read(Question("grade", ""), '{"explanation": "So.", "Criteria_Met": true}')


MANY = 500_000


@pytest.mark.parametrize(
    "text",
    [
        "{" * MANY,
        "}" * MANY,
        "{}" * MANY,
        '{"' * MANY,
        '"' * MANY,
        "\\" * MANY,
        "{" + " " * MANY,
        "<think>" * (MANY // 7),
        '{"met":' * (MANY // 7),
        '{ "met" ' * (MANY // 8) + "}" * (MANY // 8),
        '{"a":' * MANY + '{"met": true}' + "}" * MANY,
        '{"met": ' + "[" * MANY,
        '{"met": ' + "9" * MANY + "}",
        '"{ "met":1}' * (MANY // 11),
        '{"met"' + " " * MANY,
        ('{"met"' + " " * 50) * (MANY // 56),
        '{"reason": "' + "x{" * MANY + '"',
        '{"reason": "' + "\\a" * MANY + '", "met": 1}',
        '{"met": true}' + " met" * MANY,
        '{"met": true}' + " no" * MANY + "</think>",
        '{"met": true} unt' + "un" * MANY + " no",
        "met " * MANY + "\n</think>\n",
        "met" + " " * MANY + "\n</think>\n",
        " \n" * MANY + "</think",
        "</think>" * (MANY // 8),
        "<think>a</think>" * (MANY // 16),
        "<scratchpad></scratchpad>" * (MANY // 25),
        "<|channel|>analysis<|message|>a<|end|>" * (MANY // 38),
        "<" + "think_" * (MANY // 6),
        "{}" + "</s>" * (MANY // 4),
        "a " + "<|im_end|>" * (MANY // 10),
        '{"met": true}<think' * (MANY // 19) + " no",
    ],
    ids=lambda text: text[:16],
)
def test_reply_is_refused_in_time_linear_in_its_length(text: str) -> None:
    start = time.process_time()
    with pytest.raises(Unreadable):
        read(Question("criterion", ""), text)
    assert time.process_time() - start < 5.0  # quadratic time would be hours


@pytest.mark.parametrize("reasons", [True, False])
def test_schema_admits_the_verdict_and_nothing_else(reasons: bool) -> None:
    for kind, key in (("criterion", "met"), ("rating", "rating")):
        form = schema(Question(kind, ""), reasons)  # type: ignore[arg-type]
        assert list(form["properties"]) == (["reason", key] if reasons else [key])
        assert form["required"] == list(form["properties"])
        assert form["additionalProperties"] is False
        assert form["properties"].get("reason", {}).get("maxLength") in (None, MAX_REASON_LENGTH)
    assert schema(Question("criterion", ""), reasons)["properties"]["met"] == {"type": "boolean"}
    assert schema(Question("rating", ""), reasons)["properties"]["rating"]["enum"] == list(
        range(1, 11)
    )


GRADED = Question("criterion", "", scale=scale_of({0: "missing", 0.5: "partly", 2: "fully"}))
NUMBERS = Question("criterion", "", scale=scale_of([-1, 0, 1]))
STARS = Question("rating", "", scale=scale_of([1, 2, 3]))


@pytest.mark.parametrize(
    ("question", "text", "value"),
    [
        (GRADED, '{"reason": "So.", "grade": 0}', 0.0),
        (GRADED, '{"reason": "So.", "grade": 0.5}', 0.25),
        (GRADED, "```json\n{'Grade': '2.0'}\n```", 1.0),
        (GRADED, '{"grade": 0.500}', 0.25),
        (GRADED, '{"grade": "Partly"}', 0.25),
        (GRADED, 'Here is my grade:\n{"grade": " fully "}\nI hope this helps!', 1.0),
        (NUMBERS, '{"grade": -1}', 0.0),
        (NUMBERS, '<think>{"grade": -1}</think>{"grade": 1}', 1.0),
        (STARS, '{"rating": 2}', 0.5),
    ],
)
def test_a_grade_is_read_by_its_number_or_its_word(
    question: Question, text: str, value: float
) -> None:
    assert read(question, text)[0] == value


@pytest.mark.parametrize(
    ("question", "text", "told"),
    [
        (GRADED, '{"grade": 1}', "grade is none of the scale"),
        (GRADED, '{"grade": 0.25}', "grade is none of the scale"),
        (GRADED, '{"grade": "partly or fully"}', "grade is none of the scale"),
        (GRADED, '{"grade": "2: fully"}', "grade is none of the scale"),
        (GRADED, '{"grade": true}', "grade is none of the scale"),
        (GRADED, '{"grade": 5e-1}', "grade is none of the scale"),
        (GRADED, '{"grade": null}', "grade is none of the scale"),
        (GRADED, '{"grade": ""}', "grade is none of the scale"),
        (GRADED, '{"met": true}', "unknown key"),
        (GRADED, '{"grade": 0, "met": true}', "unknown key"),
        (GRADED, '{"grade": 0, "grade": 2}', "repeated key"),
        (GRADED, '{"grade": 0} or {"grade": 2}', "words beside the verdict"),
        (GRADED, "2", "no verdict"),
        (NUMBERS, '{"grade": "missing"}', "grade is none of the scale"),
        (STARS, '{"rating": 4}', "rating is none of the scale"),
        (STARS, '{"grade": 2}', "unknown key"),
        (Question("criterion", ""), '{"grade": 1}', "unknown key"),
    ],
)
def test_what_is_none_of_the_grades_is_refused(question: Question, text: str, told: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(question, text)
    assert str(refused.value) == told


@pytest.mark.parametrize("question", [GRADED, NUMBERS, STARS])
def test_the_schema_of_a_grade_admits_the_scale_alone(question: Question) -> None:
    key = "rating" if question is STARS else "grade"
    form = schema(question, True)["properties"]
    assert list(form) == ["reason", key]
    assert form[key]["enum"] == [number for number, _ in question.scale]
    assert form[key]["type"] == ("number" if question is GRADED else "integer")
    for number in form[key]["enum"]:
        value = read(question, json.dumps({"reason": "So.", key: number}))[0]
        assert told(question, value).startswith(f"{number} of ")


def test_verdicts_are_told_in_words() -> None:
    assert told(Question("criterion", ""), 1.0) == "met"
    assert told(Question("criterion", ""), 0.0) == "not met"
    assert told(Question("criterion", "", expected=True), 0.834) == "met by 83 %"
    assert told(Question("rating", ""), 6 / 9) == "7 of 10"
    assert told(GRADED, 0.25) == "0.5 of 0 to 2 (partly)"
    assert told(replace(GRADED, expected=True), 0.6) == "1.2 of 0 to 2"
