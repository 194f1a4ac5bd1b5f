"""Calls are read in every form in which models write them, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rvpo.environments.tool_calls import tool_calls

names = st.from_regex(r"[a-z][a-z_.0-9-]{0,12}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
calls = st.tuples(names, st.dictionaries(words, values, max_size=3))
several = st.lists(calls, min_size=1, max_size=3)
everywhere = settings(deadline=None, max_examples=25)
Call = tuple[str, dict[str, Any]]


def as_json(call: Call, key: str = "arguments", **more: Any) -> str:
    return json.dumps({"name": call[0], key: call[1], **more}, ensure_ascii=False)


def as_list(found: list[Call], key: str = "arguments") -> str:
    return f"[{', '.join(as_json(call, key) for call in found)}]"


def channel(call: Call) -> str:
    return (
        f"<|channel|>commentary to=functions.{call[0]} <|constrain|>json<|message|>"
        f"{json.dumps(call[1])}<|call|>"
    )


FORMS = {
    "Hermes": lambda found: "\n".join(
        f"<tool_call>\n{as_json(call)}\n</tool_call>" for call in found
    ),
    "Hermes, behind words": lambda found: (
        "I will ask.\n" + "".join(f"<tool_call>{as_json(call)}</tool_call>" for call in found)
    ),
    "Hermes, a list": lambda found: f"<tool_call>{as_list(found)}</tool_call>",
    "Hermes, in one block": lambda found: "<tool_call>\n{}\n</tool_call>".format(
        "\n".join(map(as_json, found))
    ),
    "Hermes, not closed": lambda found: (
        "<tool_call>" + "</tool_call><tool_call>".join(map(as_json, found))
    ),
    "arguments as text": lambda found: "".join(
        f"<tool_call>{as_json((name, json.dumps(given)))}</tool_call>"  # type: ignore[arg-type]
        for name, given in found
    ),
    "Llama 3": lambda found: "; ".join(as_json(call, "parameters") for call in found),
    "Llama 3, marked": lambda found: f"<|python_tag|>{as_list(found, 'parameters')}",
    "Llama 3, a list": lambda found: as_list(found, "parameters"),
    "fenced": lambda found: f"```json\n{as_list(found)}\n```",
    "Mistral": lambda found: f"[TOOL_CALLS] {as_list(found)}",
    "Mistral, named": lambda found: "".join(
        f"[TOOL_CALLS]{name}[ARGS]{json.dumps(given)}" for name, given in found
    ),
    "Granite": lambda found: f"<|tool_call|>{as_list(found)}",
    "Phi": lambda found: f"<|tool_call|>{as_list(found)}<|/tool_call|>",
    "gpt-oss": lambda found: "<|start|>assistant".join(map(channel, found)),
    "gpt-oss, told first": lambda found: "<|start|>assistant".join(
        f" to=functions.{name}<|channel|>commentary json<|message|>{json.dumps(given)}<|call|>"
        for name, given in found
    ),
}


@pytest.mark.parametrize("form", FORMS)
@given(found=several)
@everywhere
def test_calls_are_read_as_they_were_written(form: str, found: list[Call]) -> None:
    marks = ("<tool_call>", "[TOOL_CALLS]", "```", "<|")
    text = str(found)
    if any(mark in text for mark in marks):
        return
    read = tool_calls(FORMS[form](found), ())
    assert [(call.name, dict(call.arguments)) for call in read] == found
    assert [call.problem for call in read] == [""] * len(found)


@given(words)
@example("</tool_call>")
@example('{"a": "</tool_call>"}')
@everywhere
def test_a_text_in_an_argument_may_hold_anything(word: str) -> None:
    text = f"<tool_call>{as_json(('write', {'text': word}))}</tool_call>"
    assert [dict(call.arguments) for call in tool_calls(text, ())] == [{"text": word}]


@given(st.text() | st.lists(st.sampled_from(["<tool_call>", "{", "}", '"name"', ":", "[", "x"])))
@everywhere
def test_whatever_a_model_writes_is_read(text: str | list[str]) -> None:
    for call in tool_calls("".join(text), ()):
        assert call.problem or call.name
        json.dumps(call.as_message, ensure_ascii=False).encode()


ANSWERS = [
    "The sum is 3.",
    '{"answer": 3}',
    '[{"name": "Oslo"}]',
    '{"name": "Oslo", "size": 3}',
    "[1, 2]",
    '"name"',
    "",
    '```json\n{"name": "Oslo"}\n```',
    'Such a call is {"name": "add", "arguments": {}}.',
    "```python\nprint(3)\n```",
]


@pytest.mark.parametrize("text", ANSWERS)
def test_json_that_calls_nothing_is_an_answer(text: str) -> None:
    assert tool_calls(text, ()) == []


BROKEN = {
    "<tool_call>{</tool_call>": "no JSON",
    "<tool_call></tool_call>": "no JSON",
    "<tool_call>": "no JSON",
    '<tool_call>{"name": "add", "arguments": {}}}</tool_call>': "behind the JSON",
    "<tool_call>3</tool_call>": "a name and arguments",
    '<tool_call>{"name": 3}</tool_call>': "a name and arguments",
    '<tool_call>{"name": "add", "arguments": [1]}</tool_call>': "must be a table",
    '<tool_call>{"name": "add", "arguments": "a=1"}</tool_call>': "must be a table",
    r'<tool_call>{"name": "add", "arguments": {"a": "\ud800"}}</tool_call>': "no text",
    '{"name": "add", "parameters": {"a": 1}': "no JSON",
    '<|python_tag|>add.call(query="a")': "no JSON",
    "[TOOL_CALLS]": "no JSON",
    '[TOOL_CALLS]add[ARGS]{"a": ': "no JSON",
    "<|channel|>commentary to=functions.add<|message|>a=1<|call|>": "no JSON",
    f"<tool_call>{'[' * 100_000}</tool_call>": "no JSON",
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:40])
def test_a_broken_call_is_told_from_an_answer(text: str) -> None:
    (call,) = tool_calls(text, ())
    assert BROKEN[text] in call.problem


def test_one_broken_call_spoils_no_other() -> None:
    good = f"<tool_call>{as_json(('add', {'a': 1}))}</tool_call>"
    read = tool_calls(f"{good}<tool_call>{{oops</tool_call>{good}", ())
    assert [bool(call.problem) for call in read] == [False, True, False]


def test_a_thought_of_gpt_oss_calls_nothing() -> None:
    thought = f"<|channel|>analysis<|message|>I could write {channel(('add', {}))[:-8]} here<|end|>"
    assert tool_calls(f"{thought}<|start|>assistant<|channel|>final<|message|>3", ()) == []
    assert len(tool_calls(f"{thought}<|start|>assistant{channel(('add', {}))}", ())) == 1


def test_values_in_tags_have_the_types_of_the_tool() -> None:
    text = (
        "<tool_call>\n<function=add>\n<parameter=a>\n3\n</parameter>\n<parameter=b>\n3\n"
        "</parameter>\n<parameter=c>\ntwo\nlines\n</parameter>\n</function>\n</tool_call>"
    )
    types = {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "string"}}
    tool = {"function": {"name": "add", "parameters": {"properties": types}}}
    (call,) = tool_calls(text, [tool])
    assert call.arguments == {"a": 3, "b": "3", "c": "two\nlines"}
    (bare,) = tool_calls(text.replace("<tool_call>", "").replace("</tool_call>", ""), [tool])
    assert bare == call


def test_the_id_of_a_call_is_kept() -> None:
    (call,) = tool_calls(f"[TOOL_CALLS][{as_json(('add', {}), id='abcdefghi')}]", ())
    assert call.as_message["id"] == "abcdefghi"
    (named,) = tool_calls("[TOOL_CALLS]add[CALL_ID]abcdefghi[ARGS]{}", ())
    assert named == call


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "\n",
        "<parameter=x>",
        "<function=f>",
        "<tool_call>",
        "[TOOL_CALLS]a ",
        "<|channel|>",
        "<|start|>assistant",
        "```a",
        "{",
        '"name" ',
        "a",
    ],
)
@pytest.mark.parametrize("before", ["", "<function=f>", "[TOOL_CALLS]name", "```", "<|end|>"])
def test_an_answer_of_any_length_is_read_in_the_time_of_its_length(unit: str, before: str) -> None:
    """Where a pattern went back over what it has read, this would not end."""
    tool_calls(before + unit * 30_000, ())
