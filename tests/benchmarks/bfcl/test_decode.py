"""Calls in the text of a response."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.bfcl.decode import Decoded, decode_toolrl, decode_tools, storable

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
        f"Okay, a <tool_call> is due.</think>\n\n{CALL}",  # the template began the thought
        f"<|python_tag|>{CALL}",
        f"```tool_call\n{CALL}\n```",
    ],
)
def test_calls_are_read_in_every_form_that_models_write(text: str) -> None:
    assert decode_tools(text, own_name) == Decoded((OSLO,), is_well_formed=True)


def test_several_calls_keep_their_order() -> None:
    block = "\n".join(f"<tool_call>{CALL.replace('Oslo', c)}</tool_call>" for c in ("b", "a"))
    found = decode_tools(block, own_name)
    assert [call["get.time"]["city"] for call in found.calls] == ["b", "a"]


def test_a_fence_in_an_argument_is_no_fence_around_calls() -> None:
    call = {"name": "run", "arguments": {"code": "```print(1)```"}}
    assert decode_tools(json.dumps(call), own_name).calls == ({"run": call["arguments"]},)


@pytest.mark.parametrize("text", ["It is noon.", "[]", "<think>Hm.</think> Noon.", 'Its "name": x'])
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
        "",
        "<think>Hm, what if",
        "<think>Hm.</think>",
        f"I would call {CALL}",
        f"<tools>{CALL}</tools>",
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


@pytest.mark.parametrize(
    "line",
    [
        '{"name": "f"}',
        CALL,  # its values stand under arguments
        f"[{TOOLRL}]",
        '{"name": 3, "parameters": {}}',
    ],
)
def test_toolrl_reads_no_other_form_of_a_call(line: str) -> None:
    assert decode_toolrl(toolrl(line, TOOLRL)) == Decoded((OSLO,), is_well_formed=False)


@pytest.mark.parametrize("parameters", ['"x"', "null", "[]"])
def test_toolrl_gives_up_an_answer_with_parameters_that_are_no_table(parameters: str) -> None:
    line = f'{{"name": "f", "parameters": {parameters}}}'
    assert decode_toolrl(toolrl(TOOLRL, line)) == Decoded((), is_well_formed=False)


def test_toolrl_reads_on_where_the_block_was_last_opened() -> None:
    for before in ("<think>A <tool_call> is due.</think>\n", "<think>So.</think>\n<tool_call>"):
        assert decode_toolrl(toolrl(TOOLRL, thought=before)).calls == (OSLO,)


def test_toolrl_takes_both_keys_for_one_call() -> None:
    line = '{"name": "get.time", "arguments": {}, "parameters": {"city": "Oslo"}}'
    assert decode_toolrl(toolrl(line)) == Decoded((OSLO,), is_well_formed=True)


@pytest.mark.parametrize("levels", [1, 30, 50, 100, 490, 700, 900, 980, 5000, 10**6])
def test_a_call_of_any_depth_can_be_stored_or_is_none(levels: int) -> None:
    value = "[" * levels + "]" * levels
    deep, deep_toolrl = (call.replace('"Oslo"', value) for call in (CALL, TOOLRL))
    text = json.dumps({"name": "get_time", "arguments": f'{{"city": {value}}}'})
    for answer in (deep, f"<tool_call>{deep}</tool_call>", f"```json\n{deep}\n```", text):
        found = decode_tools(answer, own_name)
        assert json.dumps(storable(list(found.calls)))
        assert found.is_well_formed == bool(found.calls) == (levels <= 50)
    decode_tools(value.replace("[]", f"[{CALL}]"), own_name)
    toolrl = f"<think>So.</think><tool_call>{deep_toolrl}</tool_call>"
    assert bool(decode_toolrl(toolrl).calls) == (levels <= 50)


def test_long_blanks_are_read_in_no_time() -> None:
    assert not decode_toolrl("<think></think>" + " " * 200_000 + "x").is_well_formed


def test_a_call_of_none_is_no_call() -> None:
    for name in ("None", "none", " None "):
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
        (toolrl(""), False),
        (f"<think>So.</think>\n<response>{toolrl(TOOLRL, thought='')}</response>", False),
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
