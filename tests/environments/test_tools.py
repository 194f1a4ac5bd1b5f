"""Functions as tools: what a policy is shown, what it is told, and what cannot hurt a run."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rvpo.config.yaml_file import load
from rvpo.environments import AnyEnvironment, ToolFailed, ToolsConfig, WorldReply
from rvpo.environments.tool import tool_of
from rvpo.environments.tools import FunctionTools
from rvpo.errors import ConfigError
from tests.environments import hostile_tools
from tests.fakes import make_prompt

T = TypeVar("T")
TRL = "tests.environments.trl_examples"
HOSTILE = "tests.environments.hostile_tools"
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    hostile_tools.RELEASE.clear()
    yield
    hostile_tools.RELEASE.set()


def call(name: str, **arguments: Any) -> str:
    text = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{text}\n</tool_call>"


def config(*paths: Any, **more: Any) -> ToolsConfig:
    found = TypeAdapter(AnyEnvironment).validate_python(
        {"name": "tools", "functions": list(paths), **more}
    )
    assert isinstance(found, ToolsConfig)
    return found


def opened(*names: str, **more: Any) -> FunctionTools:
    return config(*(f"{HOSTILE}:{name}" for name in names), **more).open()


async def answer(tools: FunctionTools, *calls: str) -> WorldReply:
    return await tools.session(make_prompt(), 0).answer(
        {"role": "assistant", "content": "".join(calls)}
    )


def within(tools: FunctionTools, work: Coroutine[Any, Any, T]) -> T:
    async def whole() -> T:
        try:
            return await work
        finally:
            await tools.close()

    return asyncio.run(whole())


def told(tools: FunctionTools, *calls: str) -> list[str]:
    return [message["content"] for message in within(tools, answer(tools, *calls)).messages]


def test_tools_written_for_trl_are_shown_and_called_as_they_are() -> None:
    from transformers.utils.chat_template_utils import get_json_schema

    from tests.environments.trl_examples import async_add, multiply

    tools = config(f"{TRL}:multiply", f"{TRL}:async_add").open()
    assert list(tools.tools) == [get_json_schema(multiply), get_json_schema(async_add)]
    reply = within(tools, answer(tools, call("async_add", a=1, b=2), call("multiply", a=3, b=4)))
    assert reply.messages == (
        {"role": "tool", "name": "async_add", "content": "3"},
        {"role": "tool", "name": "multiply", "content": "12"},
    )
    assert reply.said is not None
    assert [each["function"]["name"] for each in reply.said["tool_calls"]] == [
        "async_add",
        "multiply",
    ]
    assert (reply.calls, reply.failures) == (2, ())


def test_a_turn_without_calls_is_answered_with_nothing() -> None:
    tools = config(f"{TRL}:multiply").open()
    assert within(tools, answer(tools, "The answer is 12.")) == WorldReply()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("of_no_type", "{1}"),
        ("parts", "one two"),
        ("half_a_character", "a?b"),
        ("floods", "flooded"),
        ("forks", "forked"),
        ("times_out", "{'error': 'the server took too long'}"),
        ("unreadable", "{'error': 'no text for you'}"),
        ("leaves_python", "{'error': '3'}"),
        ("leaves_python_async", "{'error': '3'}"),
        ("interrupts", "{'error': 'KeyboardInterrupt'}"),
        ("interrupts_async", "{'error': 'KeyboardInterrupt'}"),
        ("ends_iteration", "{'error': 'out'}"),
        ("cancels_itself", "{'error': 'CancelledError'}"),
        ("raises_odd", "{'error': 'odd'}"),
        ("no_words", "{'error': 'Wordless'}"),
        ("no_words_async", "{'error': 'Wordless'}"),
        ("forgets_to_await", "{'error': 'it returned a coroutine; write async def where it is"),
        ("makes_a_generator", "{'error': 'it returned a value of type generator; return what"),
        ("gives_an_awaitable", "{'error': 'it returned a value of type Later; return what it"),
    ],
)
def test_whatever_a_function_does_the_policy_is_told_of_it_and_the_next_call_works(
    name: str, expected: str
) -> None:
    tools = opened(name, "optional")
    first, second = told(tools, call(name), call("optional", city="Rome"))
    assert first.startswith(expected)
    assert second == "Rome C 1"


def test_a_process_that_a_tool_forks_off_ends_at_once() -> None:
    tools = opened("forks")
    told(tools, call("forks"))
    ended, status = os.wait()
    assert ended
    assert status == 0


def test_what_a_function_does_to_its_arguments_is_no_part_of_what_the_policy_said() -> None:
    tools = opened("changes_what_it_is_given")
    reply = within(
        tools, answer(tools, call("changes_what_it_is_given", values=[1], table={"a": [2]}))
    )
    assert reply.messages[0]["content"] == "done"
    assert reply.said is not None
    ((each,),) = [reply.said["tool_calls"]]
    assert each["function"]["arguments"] == {"values": [1], "table": {"a": [2]}}


def test_arguments_of_all_that_json_has_are_taken() -> None:
    given = {"kind": "a", "number": None, "rows": [{"b": 1}], "span": {"start": 2}}
    (text,) = told(opened("takes_json"), call("takes_json", **given))
    assert text == "a None [{'b': 1}] {'start': 2} None ()"


def test_a_result_beyond_the_limit_is_cut_and_says_so() -> None:
    (text,) = told(opened("huge", result_characters=10), call("huge"))
    assert text == "y" * 10 + "\n[cut off: there are 5,000,000]"


@pytest.mark.parametrize(
    "name",
    [
        "hangs",
        "awaits_for_ever",
        "holds_up_the_loop",
        "ignores_its_end",
        "slow_to_read",
        "slow_to_tell",
    ],
)
def test_a_call_that_does_not_return_fails_its_episode_and_no_other(name: str) -> None:
    tools = opened(name, "optional", "leaves_python_async", seconds=0.3)

    async def both() -> tuple[Any, Any, WorldReply]:
        hung = answer(tools, call(name))
        other = answer(tools, call("optional", city="Rome"))
        first, second = await asyncio.gather(hung, other, return_exceptions=True)
        later = await answer(tools, call("leaves_python_async"))
        hostile_tools.RELEASE.set()
        return first, second, later

    began = time.monotonic()
    hung, other, later = within(tools, both())
    assert isinstance(hung, ToolFailed)
    assert str(hung) == f"{name} did not return in time"
    assert other.messages[0]["content"] == "Rome C 1"
    assert later.messages[0]["content"] == "{'error': '3'}"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["is_down", "image"])
def test_a_tool_that_cannot_do_its_work_fails_the_episode_with_its_reason(name: str) -> None:
    tools = opened(name)
    with pytest.raises(ToolFailed, match=r"search engine is down|part of type 'image'"):
        within(tools, answer(tools, call(name)))


def test_too_many_hanging_calls_fail_the_others_until_some_return() -> None:
    tools = opened("hangs", "optional", seconds=0.1)
    tools._caller.calling._most_hanging = 3

    async def whole() -> tuple[list[Any], Any, WorldReply]:
        hung = await asyncio.gather(
            *(answer(tools, call("hangs")) for _ in range(3)), return_exceptions=True
        )
        (refused,) = await asyncio.gather(
            answer(tools, call("optional", city="Rome")), return_exceptions=True
        )
        hostile_tools.RELEASE.set()
        while tools._caller.calling._hanging:
            await asyncio.sleep(0.01)
        return hung, refused, await answer(tools, call("optional", city="Rome"))

    hung, refused, after = within(tools, whole())
    assert [str(each) for each in hung] == ["hangs did not return in time"] * 3
    assert isinstance(refused, ToolFailed)
    assert str(refused).startswith("3 calls of functions hang in threads")
    assert after.messages[0]["content"] == "Rome C 1"


def test_the_calls_of_a_turn_share_its_time() -> None:
    tools = opened("sleeps", seconds=0.5)
    with pytest.raises(ToolFailed, match="sleeps did not return in time"):
        within(tools, answer(tools, *[call("sleeps", seconds=0.2)] * 4))


def test_calls_of_a_turn_beyond_the_limit_are_not_made() -> None:
    tools = opened("optional", calls_per_turn=2)
    reply = within(tools, answer(tools, *[call("optional", city="Rome")] * 4))
    assert [m["content"] for m in reply.messages[1:]] == [
        "Rome C 1",
        "{'error': 'a turn has at most 2 calls'}",
        "{'error': 'a turn has at most 2 calls'}",
    ]
    assert reply.failures == ("too many calls",) * 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "optional needs city"),
        ({"town": "Rome"}, "optional has no argument 'town'; it takes city, unit, days"),
        ({"city": "Rome", "key": 1}, "optional has no argument 'key'; it takes city, unit, days"),
    ],
)
def test_arguments_that_do_not_fit_are_told_in_words(given: dict[str, Any], expected: str) -> None:
    tools = opened("optional")
    reply = within(tools, answer(tools, call("optional", **given)))
    assert reply.messages[0]["content"] == str({"error": expected})
    assert reply.failures == ("optional: wrong arguments",)


def test_a_value_in_tags_has_the_type_that_the_tool_shows() -> None:
    tools = config(f"{TRL}:multiply").open()
    numbers = "<parameter=a>3</parameter><parameter=b>4</parameter>"
    assert told(tools, f"<function=multiply>{numbers}</function>") == ["12"]
    tools = opened("optional")
    text = "<function=optional><parameter=city>12</parameter></function>"
    assert told(tools, text) == told(tools, call("optional", city="12"))


def test_an_unknown_tool_is_told_which_there_are() -> None:
    tools = opened("optional", "floods")
    reply = within(tools, answer(tools, call("weather")))
    assert "there are optional, floods" in reply.messages[0]["content"]
    assert reply.failures == ("no such tool",)


@given(
    st.dictionaries(
        st.sampled_from(["city", "unit", "days"]) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers()),
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_call_is_made_exactly_where_its_arguments_are_the_functions(
    arguments: dict[str, Any],
) -> None:
    fits = "city" in arguments and set(arguments) <= {"city", "unit", "days"}
    tool = tool_of(hostile_tools.optional, "here")
    assert (tool.problem_with(arguments) == "") == fits
    if fits:
        tool.function(**arguments)


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


def test_arguments_of_the_settings_are_neither_shown_to_the_policy_nor_taken_from_it() -> None:
    tools = config({"function": f"{HOSTILE}:optional", "arguments": {"unit": "K"}}).open()
    shown = tools.tools[0]["function"]["parameters"]
    assert (list(shown["properties"]), shown["required"]) == (["city", "days"], ["city"])
    taken, refused = told(
        tools, call("optional", city="Rome"), call("optional", city="Rome", unit="F")
    )
    assert taken == "Rome K 1"
    assert "has no argument 'unit'" in refused


@pytest.mark.parametrize(
    ("name", "shown", "given", "expected"),
    [
        ("in_fahrenheit", ["city", "days"], {"city": "Rome"}, "Rome F 1"),
        ("method", ["a"], {"a": 1}, "2"),
        ("decorated", ["a"], {"a": 1}, "3"),
    ],
)
def test_partials_methods_and_decorated_functions_are_tools(
    name: str, shown: list[str], given: dict[str, Any], expected: str
) -> None:
    tools = opened(name)
    function = tools.tools[0]["function"]
    assert list(function["parameters"]["properties"]) == shown
    assert told(tools, call(function["name"], **given)) == [expected]


@pytest.mark.parametrize("question", ["tell", "raise", "fail"])
def test_a_key_is_told_to_nobody(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", KEY)
    tools = config(
        {"function": f"{HOSTILE}:gives_key", "arguments": {"key": {"variable": "SEARCH_KEY"}}}
    ).open()
    try:
        said = repr(within(tools, answer(tools, call("gives_key", question=question))))
    except ToolFailed as error:
        said = str(error)
    assert "[key]" in said
    assert KEY[:10] not in said
    assert KEY not in json.dumps(tools.tools)


def test_a_key_that_is_not_there_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEARCH_KEY", raising=False)
    given = {"function": f"{HOSTILE}:gives_key", "arguments": {"key": {"variable": "SEARCH_KEY"}}}
    with pytest.raises(
        ConfigError, match=r"environment.functions\[0\].arguments.key: .*SEARCH_KEY"
    ):
        config(given).open()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_docstring", "no docstring"),
        ("no_hint", "missing a type hint"),
        ("no_line", "no description for the argument 'a'"),
        ("unresolved", "'Nowhere' is not defined"),
        ("all_of_them", r"takes \*numbers: "),
        ("anything", r"takes \*\*given: "),
        ("by_place", "which a policy cannot give by name"),
        ("AClass", "is a class; name a function, or give each episode an object"),
        ("an_object", "an object of AClass has no name"),
        ("nameless", "has no name to be called by"),
        ("yields", "yields yields, and a policy is told a result"),
        ("takes_an_enum", "takes unit as Unit, and calls are made with JSON; write str, int"),
        ("takes_objects", "takes places as Place, and calls are made with JSON"),
        ("takes_bytes", "takes data as bytes, and calls are made with JSON"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_in_one_sentence(
    name: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as found:
        opened(name)
    said = str(found.value)
    assert said.startswith("environment.functions[0]: ")
    assert "\n" not in said
    assert ";" in said  # what to write instead


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two tools are called optional"):
        opened("optional", "in_fahrenheit")


def test_an_argument_that_a_function_does_not_have_is_refused() -> None:
    given = {"function": f"{HOSTILE}:optional", "arguments": {"town": "Rome"}}
    with pytest.raises(ConfigError, match=r"functions\[0\].arguments.town: optional has no such"):
        config(given).open()


@pytest.mark.parametrize(
    "text", ["2024-01-02", "!!binary gICA", "!!set {a}", "{1: a}", "{2024-01-02: a}", ".nan"]
)
def test_arguments_of_all_that_yaml_has_are_given_and_can_be_written_down(text: str) -> None:
    given = load(text)
    settings = config({"function": f"{HOSTILE}:takes_json", "arguments": {"anything": given}})
    assert json.dumps(settings.model_dump(mode="json"))
    partly = {"kind": "a", "number": None, "rows": [], "span": {"start": 2}}
    assert told(settings.open(), call("takes_json", **partly)) == [
        f"a None [] {{'start': 2}} {given} ()"
    ]


@pytest.mark.parametrize("functions", [[], ["optional"], [{"arguments": {}}]])
def test_functions_are_paths(functions: list[Any]) -> None:
    with pytest.raises(ValidationError):
        config(*functions)
