"""Calls in the text of a response."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.evaluate.bfcl.decode import Decoded, decode_toolrl, decode_tools

CALL = '{"name": "get_time", "arguments": {"city": "Oslo"}}'
TOOLRL = '{"name": "get.time", "parameters": {"city": "Oslo"}}'
OSLO = {"get.time": {"city": "Oslo"}}


def own_name(shown: str) -> str:
    return shown.replace("get_time", "get.time")


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<think>Which city?</think>\nI ask.\n<tool_call>{CALL}</tool_call>",
        CALL,
        f"[{CALL}]",
        f"```json\n{CALL}\n```",
        CALL.replace("arguments", "parameters"),
        json.dumps({"name": "get_time", "arguments": '{"city": "Oslo"}'}),
    ],
)
def test_calls_are_read_in_every_form_that_models_write(text: str) -> None:
    assert decode_tools(text, own_name) == Decoded((OSLO,), is_well_formed=True)


def test_several_calls_keep_their_order() -> None:
    block = "\n".join(f"<tool_call>{CALL.replace('Oslo', c)}</tool_call>" for c in ("b", "a"))
    found = decode_tools(block, own_name)
    assert [call["get.time"]["city"] for call in found.calls] == ["b", "a"]


@pytest.mark.parametrize("text", ["It is noon.", "", "[]", "<think>Hm.</think> Noon."])
def test_an_answer_in_words_calls_nothing_and_is_well_formed(text: str) -> None:
    assert decode_tools(text, own_name) == Decoded((), is_well_formed=True)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>{broken</tool_call>",
        "<tool_call></tool_call>",
        '{"name": 3, "arguments": {}}',
        '{"arguments": {}}',
        '{"name": "f", "arguments": [1]}',
        '[{"name": "f", "arguments": {}}, 5]',
        "{" * 10_000,
    ],
)
def test_what_cannot_be_read_is_not_well_formed(text: str) -> None:
    assert not decode_tools(text, own_name).is_well_formed


def toolrl(*lines: str, thought: str = "<think>So.</think>\n") -> str:
    return thought + "<tool_call>\n" + "\n".join(lines) + "\n</tool_call>"


def test_toolrl_reads_a_call_a_line() -> None:
    found = decode_toolrl(toolrl(TOOLRL, TOOLRL))
    assert found == Decoded((OSLO, OSLO), is_well_formed=True)


def test_toolrl_drops_a_broken_line_and_says_so() -> None:
    assert decode_toolrl(toolrl("{broken", TOOLRL)) == Decoded((OSLO,), is_well_formed=False)


def test_toolrl_takes_the_last_block() -> None:
    text = toolrl("{}", thought="") + toolrl(TOOLRL, thought="")
    assert decode_toolrl(text) == Decoded((OSLO,), is_well_formed=False)


def test_a_call_of_none_is_no_call() -> None:
    for name in ("None", "none"):
        found = decode_toolrl(toolrl(json.dumps({"name": name, "parameters": {}})))
        assert found == Decoded((), is_well_formed=True)


@pytest.mark.parametrize(
    ("text", "is_well_formed"),
    [
        ("<think>So.</think>\n<response>No tool fits.</response>", True),
        ("<think>So.</think>", False),
        ("No tool fits.", False),
        (toolrl(TOOLRL, thought=""), False),
        (toolrl(TOOLRL) + "\n<response>Done.</response>", True),
        (toolrl(TOOLRL) + " and more", False),
    ],
)
def test_toolrl_asks_for_a_thought_and_then_for_calls_or_a_response(
    text: str, is_well_formed: bool
) -> None:
    assert decode_toolrl(text).is_well_formed == is_well_formed


@given(st.text(alphabet='<>/{}[]" \ntol_canemrgus:1', max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    decode_tools(text, own_name)
    decode_tools(f"<tool_call>{text}</tool_call>", own_name)
    decode_toolrl(text)
    decode_toolrl(toolrl(text))
