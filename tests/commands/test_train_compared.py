"""A run whose judge compares samples, and asks few of them about what is settled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from aiohttp import web

from tests.commands.test_train import metrics, samples, train, write_config
from tests.judge.server import FakeEndpoint, completion, verdict
from tests.judge.test_comparison import blocks

pytestmark = pytest.mark.slow

GROUP = 4


def vowels(text: str) -> int:
    return sum(text.count(letter) for letter in "aeiou")


def better(first: str, second: str) -> float:
    """The first one's share of the win."""
    a, b = vowels(first), vowels(second)
    return 0.5 if a == b else float(a > b)


def compare(body: dict[str, Any]) -> web.StreamResponse:
    """More vowels are better, and criteria that say so are met always."""
    shown = dict(blocks(body["messages"][-1]["content"]))
    if "Criterion" in shown:
        text, answer = shown["Criterion"], shown["The response"]
        return web.json_response(completion(verdict(text == "always" or len(answer) % 2 == 0)))
    share = better(shown["Response A"], shown["Response B"])
    word = {1.0: "A", 0.0: "B", 0.5: "tie"}[share]
    return web.json_response(completion(json.dumps({"reason": "So.", "better": word})))


def groups(run: Path) -> list[list[dict[str, Any]]]:
    """The samples of each group, in the order of steps."""
    rows = samples(run)
    return [rows[start : start + GROUP] for start in range(0, len(rows), GROUP)]


def test_a_run_learns_from_wins_and_asks_few_about_what_is_settled(
    tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(script=compare) as endpoint:
        config = write_config(
            tiny_model,
            tmp_path,
            steps=2,
            data={"held_out": {"function": "tests.toy:letters", "arguments": {"count": 3}}},
            evaluate={"samples_per_prompt": 2},
            checkpoint={"every": 1},
            rewards={
                "vowels": {"function": "tests.toy:vowels", "weight": 0},
                "late": {"function": "tests.toy:late", "weight": 0},
                "better": {"compare": "Which has more vowels?"},
                "care": {
                    "rubric": "channels",
                    "criteria": {"always": "always", "even": "even"},
                    "spare": {"after": 1, "ask": 1},
                },
            },
            judge={
                "model": "judge",
                "endpoints": [{"url": endpoint.url}],
                "cache": None,
                "timeout_s": 30,
            },
        )
        train(config)
        bodies = endpoint.seen.bodies
    run = tmp_path / "run"
    for rows in groups(run):
        texts = [row["answer"] for row in rows]
        for i, row in enumerate(rows):
            shares = [better(texts[i], texts[j]) for j in range(GROUP) if j != i]
            assert row["scores"]["better"] == pytest.approx(fmean(shares))
    said = Counter((row["step"], row["remarks"]["care/always"]["answer"]) for row in samples(run))
    assert said == {
        (1, "met"): 8,
        (2, "met"): 2,
        (2, "not asked"): 6,
    }
    rows = metrics(run)
    assert [row["judge/better/position_bias"] for row in rows] == [0, 0]
    assert [row.get("rewards/care/always/spared_frac", 0) for row in rows] == [0, 0.75]
    assert all(row["rewards/better/mean"] == pytest.approx(0.5) for row in rows)
    shown = [dict(blocks(body["messages"][-1]["content"])) for body in bodies[1:]]
    pairs = [(each["Response A"], each["Response B"]) for each in shown if "Response A" in each]
    assert all(a != b for a, b in pairs)
    assert Counter(pairs) == Counter((b, a) for a, b in pairs)
    held_out = json.loads((run / "held_out.json").read_text())["rewards"]["better"]
    assert held_out["before"] == 0.5
    assert (run / "held_out" / "first_answers.json").exists()
