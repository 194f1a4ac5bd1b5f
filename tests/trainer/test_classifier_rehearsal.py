"""A classifier at an endpoint answers a first question before anything depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from rvpo.config.classifier import ClassifierJudge
from rvpo.config.rewards import ClassifierRewardConfig
from rvpo.errors import RewardError
from rvpo.judge.types import Usage
from rvpo.rewards.classifier import ClassifierReward
from rvpo.trainer.rehearsal import rehearse_classifier
from tests.classifiers import INPUT_TOKENS, classification, scoring

WHERE = "rewards.safe.classifier"


def rewards(url: str, *given: dict[str, Any]) -> tuple[ClassifierJudge, list[ClassifierReward]]:
    at = {"model": "guard", "endpoints": [{"url": url}], "labels": ["safe", "unsafe"]}
    settings = [ClassifierRewardConfig.model_validate({"classifier": at, **each}) for each in given]
    named = [
        ClassifierReward.from_config(f"r{number}", each, "r0.classifier")
        for number, each in enumerate(settings)
    ]
    return settings[0].asked, named


def rehearsed(url: str, *given: dict[str, Any]) -> tuple[Usage | None, list[str]]:
    said: list[str] = []
    judge, asked = rewards(url, *given)
    return rehearse_classifier(judge, asked, said.append, WHERE), said


def test_every_reward_of_a_classifier_is_rehearsed_with_its_own_template() -> None:
    with scoring(lambda response: [0.75, 0.25]) as server:
        spent, said = rehearsed(server.url, {"label": 0}, {"label": 1, "template": "<<response>>"})
    assert spent is not None
    assert (spent.requests, spent.input_tokens, said) == (2, 2 * INPUT_TOKENS, [])
    assert [sorted(body) for body in server.seen.bodies] == [
        ["messages", "model", "use_activation"],
        ["input", "model", "use_activation"],
    ]


@pytest.mark.parametrize(
    ("scores", "label", "sentence"),
    [
        ([0.5], None, "1 scores, and not 2"),
        ([0.75, 0.25], "unsafe", "labels in another order"),
        ([7.0, -3.0], None, "score is no probability"),
    ],
)
def test_scores_that_no_reward_can_use_end_a_run_before_it_begins(
    scores: list[float], label: str | None, sentence: str
) -> None:
    def script(body: Any) -> web.Response:
        return web.json_response(classification(scores, label))

    with (
        scoring(lambda response: scores, script=script) as server,
        pytest.raises(RewardError, match=rf"rewards\.r0: .* gives no score: {sentence}"),
    ):
        rehearsed(server.url, {"label": 0})


def test_an_address_without_the_route_is_told_where_vllm_has_it() -> None:
    with (
        scoring(lambda response: [1.0], path="elsewhere") as server,
        pytest.raises(RewardError, match=rf"{WHERE}: 'guard' at .* http 404.* beside /v1"),
    ):
        rehearsed(server.url, {"label": 0})


def test_a_server_that_is_only_busy_is_told_of_and_the_run_goes_on() -> None:
    def script(body: Any) -> web.Response:
        return web.json_response({"error": {"message": "overloaded"}}, status=503)

    with scoring(lambda response: [1.0], script=script) as server:
        spent, said = rehearsed(server.url, {"label": 0})
    assert spent is not None
    assert len(said) == 1
    assert "the run goes on" in said[0]
