"""BFCL as a benchmark, on its own rows."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rvpo.benchmarks.bfcl.bfcl import Bfcl, BfclConfig
from rvpo.benchmarks.bfcl.distribution import find
from rvpo.errors import ConfigError, DataError
from rvpo.rollout.encoder import Encoder
from tests.benchmarks.bfcl.corrupt import first, right_calls


def benchmark(**settings: Any) -> Bfcl:
    return BfclConfig.model_validate(settings).read(lambda words: None)


def right_answer(benchmark: Bfcl, identity: str) -> str:
    """In ToolRL's form."""
    row = benchmark.rows[identity]
    if row.category.endswith("irrelevance"):
        return "<think>So.</think>\n<response>No tool fits.</response>"
    calls = [
        {"name": name, "parameters": parameters}
        for call in right_calls(row, first)
        for name, parameters in call.items()
    ] or [{"name": row.functions[0]["name"], "parameters": {}}]
    lines = "\n".join(json.dumps(call) for call in calls)
    return f"<think>So.</think>\n<tool_call>\n{lines}\n</tool_call>"


def graded(benchmark: Bfcl, answers: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"id": p.id, "completion": answers[p.id], **benchmark.grade(p, answers[p.id])()}
        for p in benchmark.prompts
    ]


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_right_answers_are_right_and_others_wrong(version: str) -> None:
    found = benchmark(version=version, format="toolrl", limit=300)
    right = {identity: right_answer(found, identity) for identity in found.rows}
    summary = found.summarise(graded(found, right))
    assert summary.metrics["accuracy"] > 0.98  # a few rows accept no answer
    assert summary.metrics["format"] == 1
    silent = found.summarise(graded(found, dict.fromkeys(right, "I would not know.")))
    irrelevant = sum(row.category.endswith("irrelevance") for row in found.rows.values())
    assert silent.metrics["accuracy"] == pytest.approx(irrelevant / 300)
    assert silent.metrics["irrelevance"] == 1
    assert silent.metrics["format/irrelevance"] == 0  # what makes that 1 worth nothing
    assert silent.metrics["called"] == 0
    assert set(summary.by_question) == set(found.rows)


def test_scores_of_the_leaderboard_need_all_of_their_rows() -> None:
    names = ("simple_python", "simple_java", "simple_javascript")
    whole = benchmark(categories=names, format="toolrl")
    rows = graded(whole, {i: right_answer(whole, i) for i in whole.rows})
    summary = whole.summarise(rows)
    assert summary.metrics["simple"] == pytest.approx(
        sum(summary.metrics[name] for name in names) / 3
    )
    assert "non_live" not in summary.scores
    assert "multiple was not run" in summary.about["because"]["non_live"]
    assert summary.about["without a value"].startswith("non_live_ast, live_ast")
    assert summary.scores["simple"].count == 550
    part = benchmark(categories=names, format="toolrl", limit=30)
    summary = part.summarise(graded(part, {i: right_answer(part, i) for i in part.rows}))
    assert "simple" not in summary.scores
    assert summary.scores["simple_java"].count < 100


def test_toolrl_lists_the_functions_in_the_system_prompt(tmp_path: Path) -> None:
    own = tmp_path / "prompt.txt"
    own.write_text("Before {x}\n<<tools>>\nafter", encoding="utf-8")
    found = benchmark(categories=("live_simple",), format="toolrl", limit=5, system_prompt=own)
    for prompt in found.prompts:
        row = found.rows[prompt.id]
        system = prompt.messages[0]
        assert system["role"] == "system"
        text = system["content"]
        assert text.startswith(f"Before {{x}}\n1. Name: {row.functions[0]['name']}\nDescription: ")
        assert "\nafter" in text
        assert not prompt.tools
        assert [turn["role"] for turn in prompt.messages] == ["system", "user"]
    assert (
        found.identity != benchmark(categories=("live_simple",), format="toolrl", limit=5).identity
    )


def test_toolrl_folds_the_turns_into_one_message_and_drops_system_messages() -> None:
    found = benchmark(format="toolrl")
    turns = {n: [t for t in row.messages if t["role"] == "user"] for n, row in found.rows.items()}
    several = next(prompt for prompt in found.prompts if len(turns[prompt.id]) > 1)
    text = several.messages[1]["content"]
    assert text.startswith("**Dialogue Records History**\n<user> ")
    assert text.count("<user> ") == text.count(" </user>") == len(turns[several.id])
    for turn in turns[several.id]:
        assert turn["content"].strip() in text
    row = next(r for r in found.rows.values() if r.messages[0]["role"] == "system")
    shown = next(prompt for prompt in found.prompts if prompt.id == row.id)
    assert row.messages[0]["content"] not in "".join(turn["content"] for turn in shown.messages)


def test_toolrl_says_of_other_languages_that_values_are_texts() -> None:
    found = benchmark(format="toolrl", categories=("simple_java",))
    for prompt in found.prompts:
        (function,) = found.rows[prompt.id].functions
        listed = prompt.messages[0]["content"].split("\nParameters: ")[1].split("\n")[0]
        shown = json.loads(listed)
        assert shown.keys() == function["parameters"]["properties"].keys()
        assert {each["type"] for each in shown.values()} <= {"string"}
        assert f"Name: {function['name']}\n" in prompt.messages[0]["content"]  # dots are kept


def test_more_rows_than_a_version_has_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    wheel = find("v3").path
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    file = tmp_path / "bfcl_eval/data/BFCL_v3_live_relevance.json"
    row = json.loads(file.read_text(encoding="utf-8").splitlines()[0]) | {"id": "one_more"}
    with file.open("a", encoding="utf-8") as more:
        more.write("\n" + json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match="live_relevance has 19 rows, and BFCL v3 has 18"):
        benchmark(path=tmp_path, categories=("live_relevance",), format="toolrl")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"categories": ["multiple", "multiple"]}, "names multiple twice"),
        ({"format": "tools", "system_prompt": "x.txt"}, "belongs to format=toolrl"),
        ({"user_prompt": "x.txt"}, "belongs to format=toolrl"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BfclConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"categories": ("simpel",)}, "no category of BFCL"),
        ({"categories": ("simple",)}, "is called simple_python here"),
        ({"categories": ("memory_kv",)}, "not included"),
        ({"system_prompt": "none.txt", "format": "toolrl"}, "cannot be read"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        benchmark(limit=1, **settings)


def test_a_template_that_hides_the_tools_is_refused(tiny_model: Path) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    (prompt,) = benchmark(categories=("simple_python",), limit=1).prompts
    with pytest.raises(DataError, match="format=toolrl"):
        encoder.encode(prompt)
    shows = "{{ tools[0].function.name if tools else '' }}"
    encoder.tokenizer.chat_template = shows + encoder.tokenizer.chat_template
    assert prompt.tools[0]["function"]["name"] in encoder.decode(encoder.encode(prompt))
