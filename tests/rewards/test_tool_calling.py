"""Tool-calling rewards: the published rules to the letter, and what is mended of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource
from rvpo.data.sources import load_prompts
from rvpo.errors import ConfigError, DataError
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.rewards.tool_calling import correctness
from rvpo.rewards.tool_calling import format as formatted
from rvpo.types import Rollout
from tests.fakes import make_sample

WEATHER = {"name": "weather", "parameters": {"city": "Oslo", "days": 1}}
NEWS: dict[str, Any] = {"name": "news", "parameters": {}}
THOUGHT = "<think> Look it up. </think>"
REPLY = "<response> It rains. </response>"
DEEP = "[" * 100_000 + "]" * 100_000


def block(*calls: dict[str, Any] | str) -> str:
    lines = [call if isinstance(call, str) else json.dumps(call) for call in calls]
    return "\n".join(["<tool_call>", *lines, "</tool_call>"])


def calling(*calls: dict[str, Any] | str) -> str:
    return f"{THOUGHT}\n{block(*calls)}"


REPLYING = f"{THOUGHT}\n{REPLY}"
BOTH = f"{calling(WEATHER)}\n{REPLY}"


def right_form(text: str, truth: str, mode: Any = "toolrl") -> float:
    return formatted([text], ground_truth=[truth], mode=mode)[0]


def right_calls(text: str, truth: str, mode: Any = "toolrl") -> float:
    return correctness([text], ground_truth=[truth], mode=mode)[0]


def weather(**parameters: Any) -> dict[str, Any]:
    return {"name": "weather", "parameters": parameters}


@pytest.mark.parametrize("truth", [calling(WEATHER), calling(WEATHER, NEWS), BOTH])
@pytest.mark.parametrize("mode", ["toolrl", "mended"])
def test_the_ground_truth_scores_highest(truth: str, mode: Any) -> None:
    assert (right_form(truth, truth, mode), right_calls(truth, truth, mode)) == (1, 3)


@pytest.mark.parametrize("column", ["reward_model", "ground_truth"])
def test_the_ground_truth_is_a_column_or_inside_toolrls_own(column: str) -> None:
    truths = [calling(WEATHER), REPLYING]
    tables = [{"ground_truth": truth, "style": "rule"} for truth in truths]
    chats = [[{"role": "assistant", "content": text}] for text in truths]
    columns: dict[str, Any] = {column: tables if column == "reward_model" else truths}
    assert formatted(chats, **columns, ability=["math"] * 2) == [1, 1]
    assert correctness(chats, **columns, ability=["math"] * 2) == [3, 0]


@pytest.mark.parametrize(
    ("text", "truth", "score"),
    [
        (REPLYING, REPLYING, 1),
        (calling(NEWS), REPLYING, 0),
        (REPLYING, calling(WEATHER), 0),
        (calling(NEWS), BOTH, 0),
        (BOTH, calling(WEATHER), 0),
        (BOTH, BOTH, 1),
        (THOUGHT, THOUGHT, 1),
        (f"\n {calling(NEWS)}\n\n", calling(WEATHER), 1),  # stripped first
        (calling("no JSON at all"), calling(WEATHER), 1),
        (f"<think></think>\n{block('')}", calling(WEATHER), 1),
        (f"Sure. {calling(NEWS)}", calling(WEATHER), 0),
        (f"{calling(NEWS)} Done.", calling(WEATHER), 0),
        (f"{THOUGHT} </think>\n{block(NEWS)}", calling(WEATHER), 1),  # thoughts are not counted
        (f"{THOUGHT} \n{block(NEWS)}", calling(WEATHER), 0),
        (f"{THOUGHT}\n\n{block(NEWS)}", calling(WEATHER), 0),
        (f"{THOUGHT}\n<tool_call>{json.dumps(NEWS)}</tool_call>", calling(WEATHER), 0),
        (f"{calling(NEWS)}\n{block(NEWS)}", calling(WEATHER), 0),
        (f"<think> <tool_call> </think>\n{block(NEWS)}", calling(WEATHER), 0),
        ("", calling(WEATHER), 0),
    ],
)
def test_published_form_follows_the_ground_truth(text: str, truth: str, score: int) -> None:
    assert right_form(text, truth) == score


@pytest.mark.parametrize(
    ("calls", "score"),
    [
        # one wanted call of two parameters: S_max = 1 + (1 + 2) = 4, R = 6 S / 4 - 3
        ([WEATHER], 3),
        ([weather(city="Oslo", days=2)], 6 * 3 / 4 - 3),  # names 1, keys 1, one value
        ([weather(city="Oslo")], 6 * 2.5 / 4 - 3),  # keys 1/2, one value
        ([weather(**WEATHER["parameters"], unit="C")], 6 * (1 + 2 / 3 + 2) / 4 - 3),
        ([weather()], 6 * 1 / 4 - 3),
        ([NEWS], -3),
        ([WEATHER, NEWS], 6 * 3.5 / 4 - 3),  # an extra call: only the names are less alike
        ([WEATHER, WEATHER], 6 * 3.5 / 4 - 3),
        ([{**WEATHER, "id": 7}], 6 * 4 / 4 - 3),
        ([weather(city="Oslo", days=1.0)], 3),
        ([weather(city="Oslo", days=True)], 3),
        ([weather(city="Oslo", days="1")], 6 * 3 / 4 - 3),
        # calls that are no calls
        ([WEATHER, ""], 3),  # stripped from the block's end
        (["", WEATHER], 3),
        ([WEATHER, "", WEATHER], -3),
        ([json.dumps(WEATHER)[:-1]], -3),
        ([[WEATHER]], -3),
        ([f"{json.dumps(WEATHER)} {json.dumps(NEWS)}"], -3),
        (["3"], -3),
        (["null"], -3),
        ([{"parameters": {}}], -3),
        ([WEATHER, {"name": ["weather"], "parameters": {}}], -3),
        ([WEATHER, {"name": None}], 6 * 3.5 / 4 - 3),  # never looked into: its name is another
        ([WEATHER, {"name": "weather"}], -3),
        ([{"name": "weather", "parameters": ["Oslo", 1]}], -3),
    ],
)
def test_published_calls_are_scored_by_hand(calls: list[Any], score: float) -> None:
    lines = [json.dumps(call) if isinstance(call, list) else call for call in calls]
    assert right_calls(calling(*lines), calling(WEATHER)) == pytest.approx(score, abs=1e-12)


def test_published_calls_match_in_any_order() -> None:
    assert right_calls(calling(NEWS, WEATHER), calling(WEATHER, NEWS)) == 3


def test_published_matching_serves_the_first_call_first_and_mended_all_together() -> None:
    truth = calling(weather(x=1), weather(x=1, y=2))
    text = calling(weather(x=1, y=2), weather(x=1, z=3))  # either is as like the first wanted call
    greedy = 1 + (1 / 2 + 1) + (1 / 3 + 1)
    best = 1 + (1 / 2 + 1) + 3
    assert right_calls(text, truth) == pytest.approx(6 * greedy / 6 - 3)
    assert right_calls(text, truth, "mended") == pytest.approx(6 * best / 6 - 3)


def test_published_rules_read_the_first_block_even_in_a_thought() -> None:
    decoy = f"<think> {block(NEWS)} </think>\n{block(WEATHER)}"
    assert right_calls(decoy, calling(WEATHER)) == -3
    assert right_calls(decoy, calling(WEATHER), "mended") == 3


@pytest.mark.parametrize("text", [REPLYING, calling(NEWS), "", "<tool_call>"])
def test_published_correctness_is_dead_where_no_call_is_wanted(text: str) -> None:
    assert right_calls(text, REPLYING) == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (REPLYING, 3),
        ("It rains.", 3),
        ("", -3),
        (" \n", -3),
        (THOUGHT, -3),
        (f"{THOUGHT}\n{THOUGHT}", -3),
        ("<think> Look it", -3),
        ("It rains. <think> Does it", -3),
        (f"<think> Look it {REPLY}", -3),
        (f"{THOUGHT}\n<response> It rai", 3),
        (f"<think> Should I <tool_call> now? </think>\n{REPLY}", 3),
        (f"{THOUGHT}\n<tool_call>\n</tool_call>", 3),
        (calling(NEWS), -3),
        (calling("no JSON"), -3),
        (f"{THOUGHT}\n<tool_call>", -3),
    ],
)
def test_calling_or_saying_nothing_where_no_call_is_wanted_is_the_worst_answer(
    text: str, score: int
) -> None:
    assert right_calls(text, REPLYING, "mended") == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (calling(NEWS), 1),
        (REPLYING, 1),
        (BOTH, 1),
        (f"{THOUGHT}{block(NEWS)}\n\n{REPLY}", 1),
        (f"<think> A <tool_call> or a <response>? </think>\n{block(NEWS)}", 1),
        (f"{THOUGHT} </think>\n{block(NEWS)}", 0),
        (f"{THOUGHT}\n{THOUGHT}\n{block(NEWS)}", 0),
        (f"{REPLY}\n{THOUGHT}", 0),
        (f"{THOUGHT}\n{REPLY}\n{block(NEWS)}", 0),
        (f"{calling(NEWS)}\n{block(NEWS)}", 0),
        (f"{calling(NEWS)} Done.", 0),
        (f"{THOUGHT}\n<tool_call>", 0),
        (f"{THOUGHT}\n<tool_call></tool_call>", 0),
        (f"{THOUGHT}\n<tool_call>\n \n</tool_call>\n{REPLY}", 0),
        (f"{THOUGHT}\n<response> {block(NEWS)} </response>", 0),
        (f"{THOUGHT}\n<response> I would <tool_call> </response>", 0),
        (f"{calling(NEWS)}\n<response> {block(NEWS)} </response>", 0),
        (THOUGHT, 0),
        (block(NEWS), 0),
        ("", 0),
    ],
)
def test_mended_form_is_what_the_prompt_asks_for(text: str, score: int) -> None:
    assert right_form(text, calling(WEATHER), "mended") == score
    assert right_form(text, REPLYING, "mended") == score


@pytest.mark.parametrize(
    ("calls", "score"),
    [
        ([WEATHER], 3),
        ([weather(city="Oslo", days=1.0)], 3),
        ([weather(city="Oslo", days=True)], 6 * 3 / 4 - 3),
        ([weather(city="Oslo", days="1")], 6 * 3 / 4 - 3),
        ([WEATHER, "", "  "], 3),
        ([WEATHER, NEWS], 6 * 3.5 / 5 - 3),  # the extra call can no longer be made up for
        ([WEATHER, WEATHER, WEATHER], 6 * (1 / 3 + 3) / 6 - 3),
        ([NEWS], -3),
        ([WEATHER, {"name": "weather"}], -3),
        (['{"name": "weather", "parameters": {"city": "Oslo", "days": NaN}}'], -3),
    ],
)
def test_mended_calls_are_scored_by_hand(calls: list[Any], score: float) -> None:
    assert right_calls(calling(*calls), calling(WEATHER), "mended") == pytest.approx(score)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (True, 1),
        (0, False),
        ([1, True], [True, 1]),
        ({"a": {"b": 0}}, {"a": {"b": False}}),
    ],
)
def test_mended_values_are_equal_as_in_json(given: Any, right: Any) -> None:
    text, truth = calling(weather(x=given)), calling(weather(x=right))
    assert right_calls(text, truth) == 3
    assert right_calls(text, truth, "mended") == 6 * 2 / 3 - 3


@pytest.mark.parametrize("value", ["<think>", "</think>", "<think> a </think>", "<response>"])
def test_mended_value_may_name_tags(value: str) -> None:
    text = f"{calling(weather(city=value))}\n{REPLY}"
    truth = calling(weather(city=value))
    assert (right_form(text, truth, "mended"), right_calls(text, truth, "mended")) == (1, 3)


def test_mended_blocks_add_up() -> None:
    assert right_calls(f"{calling(WEATHER)}\n{block(NEWS)}", calling(NEWS, WEATHER), "mended") == 3


@pytest.mark.parametrize("mode", ["toolrl", "mended"])
@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        f'{{"name": "weather", "parameters": {{"city": {DEEP}}}}}',
        '{"name": ' * 100_000,
        '{"name": "weather", "parameters": {"city": ' + "1" * 10_000 + "}}",
        '{"name": "\\ud800", "parameters": 0}',
        "[]",
        '"weather"',
        "NaN",
        "\x00",
    ],
    ids=["lists", "value", "open", "digits", "surrogate", "list", "text", "nan", "zero"],
)
def test_no_completion_makes_a_reward_raise(line: str, mode: Any) -> None:
    assert right_calls(calling(line), calling(WEATHER), mode) == -3


@pytest.mark.parametrize("mode", ["toolrl", "mended"])
def test_numbers_beyond_floats_are_only_wrong(mode: Any) -> None:
    text = calling('{"name": "weather", "parameters": {"city": "Oslo", "days": 1e400}}')
    assert right_calls(text, calling(WEATHER), mode) == 6 * 3 / 4 - 3


pieces = st.sampled_from(
    [
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>"),
        *("\n", " ", "", "x", "{", "}", "[]", "null", "1", json.dumps(WEATHER), json.dumps(NEWS)),
        *('{"name": "weather", "parameters": {"city": 1}}', '{"name": {}}', "NaN", calling(NEWS)),
    ]
)


@given(parts=st.lists(pieces, max_size=12), mode=st.sampled_from(["toolrl", "mended"]))
@settings(max_examples=300, deadline=None)
def test_every_text_has_scores_in_range(parts: list[str], mode: Any) -> None:
    text = "".join(parts)
    for truth in (calling(WEATHER, NEWS), REPLYING):
        assert right_form(text, truth, mode) in (0, 1)
        assert -3 <= right_calls(text, truth, mode) <= 3


values = st.sampled_from([0, 1, True, False, 1.0, "1", "a", None, [], [1], {"a": 1}])
calls = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]),
        "parameters": st.dictionaries(st.sampled_from(["x", "y", "z"]), values, max_size=3),
    }
)
lists_of_calls = st.lists(calls, min_size=1, max_size=4)


def reference(predicted: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> float:
    """The published rules for well-formed calls, in plain loops."""

    def likeness(first: list[str], second: list[str]) -> float:
        if not first and not second:
            return 1.0
        left, common = list(second), 0
        for item in first:
            if item in left:
                left.remove(item)
                common += 1
        return common / (len(first) + len(second) - common)

    if predicted == wanted:
        return 3.0
    score = likeness([c["name"] for c in wanted], [c["name"] for c in predicted])
    most, used = 1.0, set()
    for call in wanted:
        most += 1 + len(call["parameters"])
        best, chosen = 0.0, None
        for index, other in enumerate(predicted):
            if index in used or other["name"] != call["name"]:
                continue
            gain = likeness(list(call["parameters"]), list(other["parameters"]))
            for name, value in call["parameters"].items():
                if name in other["parameters"] and other["parameters"][name] == value:
                    gain += 1
            if gain > best:
                best, chosen = gain, index
        if chosen is not None:
            used.add(chosen)
            score += best
    return 6 * score / most - 3


@given(predicted=lists_of_calls, wanted=lists_of_calls)
@settings(max_examples=300, deadline=None)
def test_published_scores_equal_a_plain_loop_reference(
    predicted: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    score = right_calls(calling(*predicted), calling(*wanted))
    assert score == pytest.approx(reference(predicted, wanted), abs=1e-12)


@given(predicted=lists_of_calls, wanted=lists_of_calls, extra=calls)
@settings(max_examples=200, deadline=None)
def test_a_mended_score_is_highest_for_the_wanted_calls_alone(
    predicted: list[dict[str, Any]], wanted: list[dict[str, Any]], extra: dict[str, Any]
) -> None:
    truth = calling(*wanted)
    assert right_calls(calling(*reversed(wanted)), truth, "mended") == 3
    assert right_calls(calling(*wanted, extra), truth, "mended") < 3
    score = right_calls(calling(*predicted), truth, "mended")
    assert score == pytest.approx(right_calls(calling(*reversed(predicted)), truth, "mended"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "need a column 'reward_model'"),
        ({"reward_model": [None]}, "a row has no text 'ground_truth'"),
        ({"reward_model": [{"style": "rule"}]}, "a row has no text 'ground_truth'"),
        ({"ground_truth": [3]}, "a row has no text 'ground_truth'"),
        ({"ground_truth": [calling("{}")]}, "cannot be read"),
        ({"ground_truth": [f"<think> <tool_call> </think>\n{block(NEWS)}"]}, "inside a thought"),
    ],
)
def test_a_broken_ground_truth_is_the_datas_error(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        correctness([""], **columns)


@pytest.mark.parametrize("reward", [formatted, correctness])
def test_an_unknown_mode_is_refused(reward: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="choose from toolrl, mended"):
        reward([""], ground_truth=[REPLYING], mode="mendd")


def test_rows_in_toolrls_own_schema_are_prompts_that_the_rewards_can_score(tmp_path: Path) -> None:
    from datasets import Dataset

    row = {
        "data_source": "rlla",
        "prompt": [
            {"content": "You may call tools.", "role": "system"},
            {"content": "**Dialogue Records History**\n<user> Rain? </user>", "role": "user"},
        ],
        "ability": "math",
        "reward_model": {"ground_truth": calling(WEATHER), "style": "rule"},
        "extra_info": {"index": 0, "split": "train"},
    }
    Dataset.from_list([row]).to_parquet(tmp_path / "train.parquet")
    source = DatasetSource(path=str(tmp_path / "train.parquet"))
    (prompt,) = load_prompts(source, None, "data.train")
    assert [message["role"] for message in prompt.messages] == ["system", "user"]
    samples = tuple(make_sample(prompt, text) for text in (calling(WEATHER), calling(NEWS)))
    suite = RewardSuite([Reward("format", formatted), Reward("correctness", correctness)])
    assert suite(Rollout(samples=samples, group_size=2)).rewards.values.tolist() == [
        [1, 3],
        [1, -3],
    ]
