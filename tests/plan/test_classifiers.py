"""`rvpo plan` on classifiers: calls, dollars, whether one answers, and what it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.plan.classifiers import classifier_findings
from rvpo.plan.machine import Finding
from rvpo.plan.model import Model
from tests.classifiers import save_tiny_classifier, scoring
from tests.configs import tiny_config

PART = "rewards.safe.classifier"


def found(classifier: Any, prompt_tokens: int = 100, **more: Any) -> list[Finding]:
    rewards = {"safe": {"classifier": classifier, "label": 0}, **more}
    config = tiny_config(Path("unused"), rewards=rewards, steps=10)
    model = Model(shape=None, prompt_tokens=prompt_tokens, usual_tokens=50, findings=())
    return classifier_findings(config, model, held_out=3)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("guard"))


def test_calls_and_dollars_of_a_classifier_are_told_and_it_is_asked() -> None:
    with scoring(lambda response: [0.5, 0.5]) as server:
        at = {"model": "guard", "endpoints": [{"url": server.url, "input_price": 1e6}]}
        load, answer = found(at)
    # 2 prompts, 4 samples each, 10 steps; 3 held-out prompts with 4 samples, twice; 50 + 8 / 2
    assert (load.part, load.state, load.found) == (
        PART,
        "ok",
        "8 calls a step, 104 in all, of about 54 tokens each; $432.00 a step, $5,616.00 in all",
    )
    assert (answer.state, answer.found.partition(" in ")[0]) == ("ok", "guard answered")


def test_one_call_serves_all_rewards_that_read_the_same_text() -> None:
    with scoring(lambda response: [0.5, 0.5]) as server:
        at = {"model": "guard", "endpoints": [{"url": server.url}]}
        load, _ = found(at, rude={"classifier": at, "label": 1})
    assert load.found.startswith("8 calls a step")


def test_an_input_that_a_classifier_cannot_read_is_told_before_training(guard: Path) -> None:
    assert [finding.state for finding in found(str(guard), 248)] == ["ok", "note"]
    _, length, answer = found(str(guard), 249)
    assert length.found.startswith("an input may have about 257 tokens, and the classifier reads")
    assert answer.found == f"not asked: a process of the run serves {guard} on the CPU"
    own = {"serve": {"model": str(guard), "max_input_tokens": 64}}
    assert "reads 64" in found(own)[1].found


def test_a_classifier_that_does_not_answer_is_missing() -> None:
    with scoring(lambda response: [0.5], path="elsewhere") as server:
        answer = found({"model": "guard", "endpoints": [{"url": server.url}]})[-1]
    assert (answer.part, answer.state) == (PART, "missing")
    assert "http 404" in answer.found
