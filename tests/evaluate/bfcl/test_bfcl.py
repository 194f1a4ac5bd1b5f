"""BFCL as a benchmark, on its own rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rvpo.errors import ConfigError, DataError
from rvpo.evaluate.bfcl.bfcl import Bfcl
from rvpo.evaluate.settings import BfclConfig
from rvpo.rollout.encoder import Encoder
from tests.evaluate.bfcl.corrupt import first, right_calls


def benchmark(**settings: Any) -> Bfcl:
    return Bfcl.of(BfclConfig.model_validate(settings), lambda words: None)


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
    assert "multiple was not run" in summary.about["without a value"]["non_live"]
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
    assert (
        found.identity != benchmark(categories=("live_simple",), format="toolrl", limit=5).identity
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"categories": ("simpel",)}, "no category of BFCL"),
        ({"categories": ("multi_turn_base",)}, "not included"),
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
