"""An episode on the page: who said what, which tokens were given, where it ended and why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvpo.page.build import build
from rvpo.page.conversation import conversation
from rvpo.report.episode_row import episode_row
from rvpo.types import Sample
from tests.fakes import make_episode
from tests.page.test_page import REWARDS, Reader, make_run, sample


def shown(made: Sample) -> dict[str, Any]:
    assert made.episode is not None
    found = conversation(episode_row(made.episode, made.given))
    assert found is not None
    return found


def test_a_turn_says_who_spoke_and_how_many_tokens_were_given() -> None:
    found = shown(make_episode("look", "forty-two", "It is 42."))
    assert [turn["by"] for turn in found["turns"]] == ["policy", "world", "policy"]
    assert [turn["messages"][0]["who"] for turn in found["turns"]] == ["policy", "tool", "policy"]
    assert found["turns"][0]["tokens"] == "4 tokens"
    assert found["turns"][1]["tokens"].startswith("9 tokens, given")
    assert found["end"] == ["Ended: the policy was through."]


def test_the_end_says_why_and_what_failed() -> None:
    broken = make_episode("a", ending="tool_failed", reason="look hangs")
    assert shown(broken)["end"] == ["Ended: a tool failed it, so it has no score (look hangs)."]
    failures = ("add: TypeError", "look: KeyError", "add: TypeError")
    told = shown(make_episode("a", calls=4, failures=failures, rewritten="a space"))["end"]
    assert told[1] == "4 calls of tools, 3 of them failed: 2 × add: TypeError, look: KeyError."
    assert told[2].endswith("a space.")


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ([{"function": {"name": "add"}}, {"name": "look"}], "calls add, look"),
        (
            [{"function": None}, {"function": {"name": 4}}],
            "calls something unnamed, something unnamed",
        ),
        ([], ""),
        ("add", ""),
        (None, ""),
        ([3], "calls something unnamed"),
    ],
)
def test_calls_are_named_whatever_an_environment_made_of_them(calls: Any, told: str) -> None:
    message = {"role": "assistant", "content": "a", "tool_calls": calls}
    turn = {"by": "policy", "messages": [message], "start": 0, "stop": 1, "given": 0}
    ended = {"ending": "answered", "reason": "", "calls": 0, "failures": [], "rewritten": ""}
    found = conversation({"turns": [turn], **ended})
    assert found is not None
    assert found["turns"][0]["messages"][0]["calls"] == told


def test_a_page_shows_episodes_as_conversations_of_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1, rewards=3)
    attack = "</pre></article><script>alert(2)</script>"
    made = make_episode("<think>Hm.</think>I look.", attack, "It is 42.", calls=1)
    assert made.episode is not None
    chance = np.random.default_rng(0)
    row = sample(0, chance, 1, REWARDS[:3]) | {"episode": episode_row(made.episode, made.given)}
    (path,) = run.samples.iterdir()
    path.write_text(json.dumps(row) + "\n" + json.dumps(sample(1, chance, 1, REWARDS[:3])) + "\n")
    written, _ = build([run.path], tmp_path / "page.html")
    page = written.read_text(encoding="utf-8")
    assert Reader(page).open == []
    assert "alert(2)</script>" not in page
    assert "alert(2)&lt;/script&gt;" in page
    turns = re.findall(r'<div class="turn (\w+)">', page)
    assert turns == ["policy", "world", "policy"]
    assert "Ended: the policy was through." in page
    assert "nothing is learned from them" in page
    assert page.count("<article") == 2
    style = page.partition("</style>")[0]
    assert set(re.findall(r"\.turn[^{]*\{[^}]*var\((--\w+)\)", style)) <= set(
        re.findall(r"(--\w+):", style.partition("prefers-color-scheme: dark")[2])
    )
