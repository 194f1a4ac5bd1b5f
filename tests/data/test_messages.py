"""Nothing of a conversation is lost between the data and the chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource
from rvpo.data.messages import check_turn, read_conversation, read_messages, without_answer
from rvpo.data.sources import load_prompts
from rvpo.data.tools import read_tools
from rvpo.errors import DataError
from rvpo.rollout.encoder import Encoder
from rvpo.types import Prompt
from tests.fakes import make_prompt

CALL = {"type": "function", "id": "c1", "function": {"name": "f", "arguments": {"x": 1}}}
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather?", "name": "ann"},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Look."},
    {"role": "tool", "content": "Rain.", "tool_call_id": "c1", "name": "f"},
]
TOOL = {"name": "f", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": TOOL}


def load(folder: Path, *rows: Mapping[str, Any]) -> tuple[Prompt, ...]:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    source = DatasetSource(path=str(file))
    return load_prompts(source, None, "data.train")


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in ("role", "content", "tool_calls")),
        st.none() | st.text() | st.integers() | st.lists(st.integers()),
        max_size=4,
    )
)
@settings(deadline=None)
def test_every_field_of_a_message_that_holds_something_is_kept(fields: dict[str, Any]) -> None:
    kept = {name: value for name, value in fields.items() if value is not None}
    (message,) = read_messages([{"role": "user", "content": "Hi", **fields}], "data")
    assert message == {"role": "user", "content": "Hi", **kept}


@pytest.mark.parametrize("write", [lambda chat: chat, json.dumps, str])
def test_calls_their_answers_and_thoughts_reach_the_template(write: Any, tiny_model: Path) -> None:
    messages = read_messages(write(CHAT), "data")
    assert messages == (CHAT[0], {**CHAT[1], "content": ""}, CHAT[2])
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    encoder.tokenizer.chat_template = (
        "{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson }}"
    )
    prompt = replace(make_prompt(), messages=messages, tools=(WRAPPED,))
    text = encoder.decode(encoder.encode(prompt))
    for piece in (
        '"reasoning_content": "Look."',
        '"tool_call_id": "c1"',
        '"name": "ann"',
        '"x": 1',
    ):
        assert piece in text
    assert json.dumps(CALL) in prompt.turns[1][1]  # a judge sees it as well


@pytest.mark.parametrize(
    "tools", [[TOOL], [WRAPPED], TOOL, json.dumps([TOOL]), json.dumps(WRAPPED), [json.dumps(TOOL)]]
)
def test_a_column_of_tools_is_shown_by_the_template(tmp_path: Path, tools: Any) -> None:
    (prompt,) = load(tmp_path, {"prompt": "Weather?", "tools": tools})
    assert prompt.tools == (WRAPPED,)


@pytest.mark.parametrize("tools", [None, [], ""])
def test_a_row_may_have_no_tools(tools: Any) -> None:
    assert read_tools(tools, "data") == ()


@pytest.mark.parametrize("tools", ["search, code", 3, ["search"], [{"parameters": {}}]])
def test_what_is_no_tool_is_refused_by_name(tools: Any) -> None:
    with pytest.raises(DataError, match=r"^data: .*(tool|list)"):
        read_tools(tools, "data")


def test_a_template_that_is_only_for_prompts_with_tools_shows_them(tiny_model: Path) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    encoder.tokenizer.chat_template = "{% for t in tools %}{{ t.function.name }}{% endfor %}"
    prompt = replace(make_prompt(), tools=(WRAPPED,))
    assert encoder.decode(encoder.encode(prompt)) == "f"


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
        {"images": ["x.png"]},
    ],
    ids=str,
)
def test_what_a_message_says_in_a_field_that_is_not_shown_is_refused_by_name(
    tiny_model: Path, fields: dict[str, Any]
) -> None:
    encoder = plain(tiny_model)
    (name,) = fields
    with pytest.raises(DataError, match=f"a field '{name}', which the model's chat template does"):
        encoder.check_fields([with_fields(**fields)], print)


def test_a_field_about_a_message_that_is_not_shown_is_told_once(tiny_model: Path) -> None:
    said: list[str] = []
    prompts = [with_fields(name="Bob", weight=0), with_fields(name="Eve")]
    plain(tiny_model).check_fields(prompts, said.append)
    assert [text.partition("'")[2].split("'")[2] for text in sorted(said)] == ["name", "weight"]


def test_a_field_that_the_template_shows_is_not_told(tiny_model: Path) -> None:
    encoder = plain(tiny_model)
    encoder.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}{{ m.name }}{{ m.content }}{% endfor %}"
    )
    said: list[str] = []
    encoder.check_fields([with_fields(name="Bob")], said.append)
    assert said == []


def plain(tiny_model: Path) -> Encoder:
    """An encoder whose template shows roles and contents alone."""
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    encoder.tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    )
    return encoder


def with_fields(**fields: Any) -> Prompt:
    messages = ({"role": "user", "content": "Hi", **fields},)
    return Prompt(id="p/0", messages=messages, columns={})


def test_a_template_writes_the_date_on_which_the_encoder_was_made(tiny_model: Path) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    encoder.tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}"
    encoder = replace(encoder, now=datetime(2024, 2, 29, 23, 59, 58))
    for _ in range(2):
        assert encoder.decode(encoder.encode(make_prompt())) == "2024-02-29 23:59:58"


def test_parts_of_text_are_joined_and_other_parts_refused() -> None:
    parts: list[Any] = [{"type": "text", "text": "See "}, {"text": "this", "image": None}, "."]
    (message,) = read_messages([{"role": "user", "content": parts}], "data")
    assert message["content"] == "See this."
    for part in ({"type": "image", "image": "x.png"}, {"type": "image"}, 3):
        with pytest.raises(DataError, match="parts must be text"):
            read_messages([{"role": "user", "content": [*parts, part]}], "data")


def test_a_conversation_that_ends_with_the_assistant_is_refused(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    with pytest.raises(DataError, match=r"row 0, 'prompt': ends with a turn of the assistant"):
        load(tmp_path, {"prompt": chat})


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": None}],
        [{"from": "human"}],
        [{"value": "Hi"}],
        ["Hi"],
        [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]],
        [{"role": "assistant", "content": "a", "tool_calls": "f()"}],
        [{"role": "assistant", "content": "a", "tool_calls": [{"arguments": {}}]}],
        {"messages": []},
        {"prompt": "Hi"},
    ],
    ids=str,
)
def test_what_are_no_messages_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"^data: (is|holds) "):
        read_messages(value, "data")


def renamed(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A talk whose speakers have other names."""
    talk = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?")]
    return [{"from": names.get(role, role), "value": text} for role, text in talk]


TALK = tuple({"role": message["from"], "content": message["value"]} for message in renamed({}))


@given(
    st.sampled_from(["human", "Human", "user", "prompter"]),
    st.sampled_from(["gpt", "GPT", "assistant", "chatgpt", "bot", "model"]),
    st.sampled_from([lambda talk: talk, json.dumps, str]),
    st.sampled_from([None, "messages", "conversations", "conversation", "input"]),
)
@settings(deadline=None)
def test_a_talk_is_read_by_whatever_names_its_speakers_have(
    user: str, model: str, write: Any, holder: str | None
) -> None:
    talk: Any = renamed({"user": user, "assistant": model})
    assert read_messages(write(talk if holder is None else {holder: talk}), "data") == TALK


@pytest.mark.parametrize("said", ["content", "value", "text"])
@pytest.mark.parametrize("speaker", ["role", "from"])
def test_a_message_names_its_speaker_and_its_words_in_one_of_few_ways(
    speaker: str, said: str
) -> None:
    (message,) = read_messages([{speaker: "user", said: "Hi", "weight": 1}], "data")
    assert message == {"role": "user", "content": "Hi", "weight": 1}


def test_calls_and_their_answers_in_a_talk_become_turns_of_tools() -> None:
    call = {"name": "f", "arguments": {"x": 1}}
    talk = [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "Rain."},
    ]
    _, called, answered = read_messages(talk, "data")
    assert called["tool_calls"] == [{"type": "function", "function": call}]
    assert answered == {"role": "tool", "content": "Rain."}


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": {"x": 1}},
        {"name": "f", "arguments": '{"x": 1}'},
        {"name": "f", "parameters": {"x": 1}},
        {"function": {"name": "f", "arguments": '{"x": 1}'}},
        json.dumps({"name": "f", "arguments": {"x": 1}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("write", [lambda calls: calls, json.dumps])
def test_every_form_of_a_call_is_the_same_call(call: Any, write: Any) -> None:
    (message,) = read_messages([{"role": "assistant", "tool_calls": write([call])}], "data")
    function = {"name": "f", "arguments": {"x": 1}}
    assert message["tool_calls"] == [{"type": "function", "function": function}]
    assert message["content"] == ""


def test_a_request_to_an_endpoint_is_read_with_its_calls_thoughts_and_tools() -> None:
    asked = {
        "instructions": "Be brief.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": '{"x": 1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "Rain."},
        ],
        "tools": [{"type": "function", **TOOL}],
    }
    said = read_conversation(asked, "data")
    system, user, called, answered = said.messages
    assert (system["role"], user) == ("system", {"role": "user", "content": "Hi"})
    assert called["reasoning_content"] == "Look."
    assert [call["id"] for call in called["tool_calls"]] == ["c1", "c2"]
    assert answered == {"role": "tool", "content": "Rain.", "tool_call_id": "c1"}
    assert said.tools == (WRAPPED,)
    assert read_conversation({"input": "Hi"}, "data").messages == (user,)


def test_a_single_turn_of_several_messages_is_their_conversation() -> None:
    assert read_messages([CHAT[:1]], "data") == (CHAT[0],)
    with pytest.raises(DataError, match="is 2 turns, of which each waits for an answer"):
        read_messages([CHAT[:1], CHAT[:1]], "data")


@given(st.text())
@settings(deadline=None)
def test_only_words_are_kept_as_text(text: str) -> None:
    said = read_conversation(text, "data")
    assert said.text == text
    assert said.messages == ({"role": "user", "content": text},)
    assert read_conversation(json.dumps(list(said.messages)), "data").text is None


@pytest.mark.parametrize("text", ["[role] play", '{"role": 1', "[1, 2]", '["from"]', "role: user"])
def test_words_that_are_no_messages_are_one_user_turn(text: str) -> None:
    assert read_messages(text, "data") == ({"role": "user", "content": text},)


@pytest.mark.parametrize("write", [str.upper, str.title, lambda name: f" {name} "])
@pytest.mark.parametrize("name", ["assistant", "model", "bot", "gpt", "ai", "chatbot"])
@pytest.mark.parametrize("keys", [("role", "content"), ("from", "value")])
def test_an_answer_is_one_in_every_spelling_of_its_role(
    write: Any, name: str, keys: tuple[str, str]
) -> None:
    turns = [(write("user"), "Hi"), (write(name), "Hello")]
    messages = read_messages([dict(zip(keys, turn, strict=True)) for turn in turns], "data")
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert without_answer(messages) == messages[:1]
    with pytest.raises(DataError, match="ends with a turn of the assistant"):
        check_turn(messages, "data")


def test_a_role_that_only_a_template_knows_stays_as_it_is_written() -> None:
    (message,) = read_messages([{"role": "Narrator", "content": "Hi"}], "data")
    assert message["role"] == "Narrator"


def test_a_call_of_an_older_chat_is_a_call() -> None:
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    (message,) = read_messages([old], "data")
    called = {"type": "function", "function": {"name": "f", "arguments": {}}}
    assert message == {"role": "assistant", "content": "", "tool_calls": [called]}


@pytest.mark.parametrize("role", ["tool", "user", "function", "assistant"])
@pytest.mark.parametrize("fields", [{}, {"content": None}])
def test_a_turn_without_content_is_refused_by_what_it_lacks(
    role: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match=f"^data: holds a turn of '{role}' without content, which"):
        read_messages([{"role": role, **fields}], "data")


@pytest.mark.parametrize("words", ["", " \n", [], [{"type": "text", "text": " "}]])
@pytest.mark.parametrize("before", [[], [{"role": "system", "content": "Be brief."}]])
def test_a_turn_to_be_answered_has_words(words: Any, before: list[Any]) -> None:
    messages = read_messages([*before, {"role": "user", "content": words}], "data")
    with pytest.raises(DataError, match=r"^data: the turn to be answered is empty"):
        check_turn(messages, "data")


def test_a_tool_may_return_nothing() -> None:
    turns = [{"role": "user", "content": "Go"}, {"role": "tool", "content": ""}]
    check_turn(read_messages(turns, "data"), "data")


@pytest.mark.parametrize("text", ["", "  "])
def test_a_text_without_words_is_no_prompt(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="row 1, 'prompt': the turn to be answered is empty"):
        load(tmp_path, {"prompt": "Hi"}, {"prompt": text})
