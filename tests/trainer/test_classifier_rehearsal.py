"""A classifier at an endpoint answers a first question before anything depends on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from rvpo.config.classifier import ClassifierJudge
from rvpo.config.rewards import ClassifierRewardConfig
from rvpo.errors import RewardError
from rvpo.judge.scores import Scores
from rvpo.judge.types import Usage
from rvpo.rewards.classifier import ClassifierReward
from rvpo.trainer.first_scores import are_logits
from rvpo.trainer.rehearsal import rehearse_classifier
from tests.classifiers import INPUT_TOKENS, classification, scoring, shown
from tests.judge.server import FakeEndpoint

WHERE = "rewards.safe.classifier"


def rewards(
    urls: Sequence[str], given: Sequence[dict[str, Any]], **told: Any
) -> tuple[ClassifierJudge, list[ClassifierReward]]:
    at = {"model": "guard", "endpoints": [{"url": url} for url in urls], **told}
    settings = [ClassifierRewardConfig.model_validate({"classifier": at, **each}) for each in given]
    named = [
        ClassifierReward.from_config(f"r{number}", each, "r0.classifier")
        for number, each in enumerate(settings)
    ]
    return settings[0].asked, named


def rehearsed(url: str, *given: dict[str, Any]) -> tuple[Usage | None, list[str]]:
    return rehearsed_at([url], given, labels=["safe", "unsafe"])


def rehearsed_at(
    urls: Sequence[str], given: Sequence[dict[str, Any]], **told: Any
) -> tuple[Usage | None, list[str]]:
    said: list[str] = []
    judge, asked = rewards(urls, given, **told)
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


def labelled(scores: Sequence[float], label: str | None = None) -> FakeEndpoint:
    return scoring(
        lambda response: scores, script=lambda _: web.json_response(classification(scores, label))
    )


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        (
            ([0.7, 0.3], None),
            ([0.2, 0.3, 0.5], None),
            r"endpoints\[0\] and .*endpoints\[1\] give 2 and 3 scores",
        ),
        (
            ([0.7, 0.3], "safe"),
            ([0.7, 0.3], "toxic"),
            r"call the labels 0 and 0 'safe' and 'toxic'",
        ),
        (([0.7, 0.3], "safe"), ([0.3, 0.7], "safe"), "call the labels 0 and 1"),
    ],
)
def test_endpoints_of_different_classifiers_end_a_run_before_it_begins(
    one: Any, other: Any, sentence: str
) -> None:
    with (
        labelled(*one) as first,
        labelled(*other) as second,
        pytest.raises(RewardError, match=sentence),
    ):
        rehearsed_at([first.url, second.url], [{"label": 0}])


def test_every_endpoint_is_asked_and_far_scores_are_told_of() -> None:
    with scoring(lambda response: [0.7, 0.3]) as one, scoring(lambda response: [0.2, 0.8]) as other:
        near, nothing = rehearsed_at([one.url, one.url], [{"label": 0}])
        far, said = rehearsed_at([one.url, other.url], [{"label": 0}])
    assert near is not None
    assert far is not None
    assert (near.requests, far.requests, nothing) == (2, 2, [])
    assert len(said) == 1
    assert "score one answer differently" in said[0]


def test_an_endpoint_that_is_not_there_is_told_of_where_another_answers() -> None:
    with (
        scoring(lambda response: [0.7, 0.3], path="elsewhere") as lost,
        scoring(lambda response: [0.7, 0.3]) as server,
    ):
        _, said = rehearsed_at([lost.url, server.url], [{"label": 0}])
    assert said == [
        f"{WHERE}.endpoints[0]: no scores in a rehearsal: http 404; the run asks the others"
    ]


def reward_model(logit: float, activation: Any, *, ignores: bool = False) -> FakeEndpoint:
    """A server of one score, which grows with the response."""

    def script(body: Any) -> web.Response:
        raw = logit + 0.01 * len(shown(body))
        plain = not body["use_activation"] and not ignores
        return web.json_response(classification([raw if plain else activation(raw)]))

    return scoring(lambda response: [], script=script)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("logit", [-9.0, 0.1, 0.659, 4.0])
def test_logits_are_those_of_the_probabilities(logit: float) -> None:
    with reward_model(logit, sigmoid) as server:
        spent, said = rehearsed_at([server.url], [{}])
    assert spent is not None
    assert said == []
    with (
        reward_model(logit, sigmoid, ignores=True) as server,
        pytest.raises(RewardError, match=r"rewards\.r0: .*endpoints\[0\] does not show that"),
    ):
        rehearsed_at([server.url], [{}])


def test_a_classifier_without_an_activation_gives_the_same_both_ways() -> None:
    with reward_model(0.98, float) as server:  # a longer response has more than 1
        spent, _ = rehearsed_at([server.url], [{}])
    assert spent is not None
    assert spent.requests > 2


def test_logits_of_other_probabilities_are_refused() -> None:
    with (
        reward_model(3.0, lambda logit: 0.1) as server,
        pytest.raises(RewardError, match="neither their softmax nor their sigmoid"),
    ):
        rehearsed_at([server.url], [{}])


@pytest.mark.parametrize(
    ("logits", "given", "expected"),
    [
        ((1.0, 3.0), (0.1192, 0.8808), True),
        ((1.0, 3.0), (0.7311, 0.9526), True),
        ((1.0, 3.0), (0.8808, 0.1192), False),
        ((1.0, 3.0), (0.5,), False),
        ((7.0,), (7.0,), True),
        ((0.1192, 0.8808), (0.1192, 0.8808), None),
        ((-800.0, 800.0), (0.0, 1.0), True),
    ],
)
def test_logits_are_told_from_probabilities(logits: Any, given: Any, expected: bool | None) -> None:
    assert are_logits(Scores(logits), Scores(given)) is expected
