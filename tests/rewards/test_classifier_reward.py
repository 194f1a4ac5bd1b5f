"""The scores of a classifier as channels of the reward matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.judge import BudgetConfig
from rvpo.config.rewards import ClassifierRewardConfig, classifiers
from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.scores import Scores
from rvpo.judge.types import Answer, Question
from rvpo.rewards.classifier import ClassifierReward
from rvpo.rewards.judging import AskedJudge
from rvpo.rewards.suite import RewardSuite
from rvpo.types import Failed, Rollout, RolloutScores
from tests.classifiers import save_tiny_classifier
from tests.configs import tiny_config
from tests.fakes import FakeJudge, make_prompt, make_sample

LABELS = ("safe", "unsafe")
GUARD = "safe.classifier"
SAFE = ClassifierReward(
    name="safe",
    judge=GUARD,
    channels={"": 0},
    question=Question("score", "chat"),
    labels=LABELS,
)


def scores(*values: float, label: str = "") -> Answer:
    return Answer(value=1.0, reason=Scores(values, label).to_text())


def scored(
    answers: Sequence[Answer], *rewards: ClassifierReward, lenient: bool = True
) -> RolloutScores:
    """The matrix of one prompt's samples, each with its answer."""
    texts = [str(number) for number in range(len(answers))]
    judge = FakeJudge(lambda response, question: answers[int(response)])
    budget = BudgetConfig(group=1, step=1) if lenient else BudgetConfig()
    suite = RewardSuite(rewards or [SAFE]).judged_by({GUARD: AskedJudge(judge, budget)})
    prompt = make_prompt()
    samples = tuple(make_sample(prompt, text) for text in texts)
    return suite(Rollout(samples=samples, group_size=len(samples)))


def column(found: RolloutScores, number: int = 0) -> list[float | str]:
    """The scores of a column, or why there is none."""
    values = found.rewards.values[:, number].tolist()
    return [found.failures.get((row, number), value) for row, value in enumerate(values)]


def settings(folder: Path | str, **given: Any) -> ClassifierRewardConfig:
    return ClassifierRewardConfig.model_validate({"classifier": str(folder), **given})


def built(folder: Path | str, **given: Any) -> ClassifierReward:
    return ClassifierReward.from_config("safe", settings(folder, **given), GUARD)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("guard"), LABELS)


def test_a_score_is_that_of_its_label() -> None:
    answers = [scores(0.75, 0.25, label="safe"), scores(0.125, 0.875, label="unsafe")]
    assert column(scored(answers)) == [0.75, 0.125]
    assert column(scored(answers, replace(SAFE, channels={"": 1}))) == [0.25, 0.875]


def test_a_high_score_of_what_is_bad_is_a_low_one() -> None:
    negative = replace(SAFE, channels={"": 1}, polarity="negative")
    assert column(scored([scores(0.75, 0.25)], negative)) == [0.75]
    logits = Question("score", "chat", logits=True)
    assert column(scored([scores(3.5, -1.25)], replace(negative, question=logits))) == [1.25]


def test_several_labels_are_channels_that_share_the_weight_and_one_call() -> None:
    both = replace(SAFE, channels={"calm": 0, "rude": 1}, weight=3.0)
    found = scored([scores(0.75, 0.25), scores(0.5, 0.5)], both)
    assert found.rewards.names == ("safe/calm", "safe/rude")
    assert found.rewards.values.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert found.rewards.weights.tolist() == [[1.5, 1.5]] * 2
    assert set(found.aspects) == {"safe", "safe/calm", "safe/rude"}
    assert found.metrics["judge/verdicts"] == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(value=None, failure="input too long"), "input too long"),
        (Answer(value=1.0, reason="I am no list"), "no scores"),
        (scores(0.5), "1 scores, and not 2"),
        (scores(0.25, 0.25, 0.5), "3 scores, and not 2"),
        (scores(0.75, 0.25, label="unsafe"), "labels in another order"),
        (scores(4.5, -4.5), "score is no probability"),
    ],
)
def test_what_is_no_score_is_missing_with_its_reason_and_never_0(
    answer: Answer, reason: str
) -> None:
    found = scored([scores(0.5, 0.5), answer])
    assert column(found) == [0.5, reason]
    assert found.rewards.valid[:, 0].tolist() == [True, False]
    with pytest.raises(RewardError, match=r"rewards\.safe\.classifier: 2 of the 3 .* missing"):
        scored([scores(0.5, 0.5), answer, answer], lenient=False)


def test_a_label_that_the_server_calls_otherwise_is_no_contradiction() -> None:
    assert column(scored([scores(0.75, 0.25, label="LABEL_0")])) == [0.75]


def test_a_label_is_found_by_its_name_or_number_in_the_files(guard: Path) -> None:
    assert built(guard, label="unsafe").channels == {"": 1}
    assert built(guard, label=1) == built(guard, label="unsafe")
    assert built(guard, labels={"a": "safe", "b": 1}).channels == {"a": 0, "b": 1}
    assert built(guard, label="safe").labels == LABELS


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"rewards.safe.label: required, .* 2 scores; choose from safe, unsafe"),
        ({"label": "unsave"}, r"rewards.safe.label: .* no label 'unsave'; did you mean 'unsafe'\?"),
        ({"label": "x"}, r"no label 'x'; choose from safe, unsafe"),
        ({"label": 2}, r"rewards.safe.label: 2 is none of the 2 labels safe, unsafe, counted from"),
        ({"labels": {"a": 7}}, r"rewards.safe.labels.a: 7 is none"),
    ],
)
def test_a_label_that_is_none_is_refused_with_those_that_are(
    guard: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        built(guard, **given)


def test_a_reward_model_with_one_score_needs_no_label_and_gives_its_logit(tmp_path: Path) -> None:
    reward = built(save_tiny_classifier(tmp_path, ("reward",), problem="regression"))
    assert (reward.channels, reward.question.logits) == ({"": 0}, True)
    logit = scores(-7.25)
    assert column(scored([logit], reward)) == [-7.25]


def test_of_several_scores_none_is_taken_where_no_label_is_named() -> None:
    at = {"model": "guard", "endpoints": [{"url": "http://localhost:8000"}]}
    config = ClassifierRewardConfig.model_validate({"classifier": at})
    reward = ClassifierReward.from_config("safe", config, GUARD)
    answers = [scores(0.5), scores(0.5, -0.5)]
    assert column(scored(answers, reward)) == [0.5, "2 scores, and no label is named"]


def test_a_name_at_an_endpoint_needs_the_names_of_all_labels() -> None:
    at = {"model": "guard", "endpoints": [{"url": "http://localhost:8000"}]}
    remote = {"classifier": at, "label": "unsafe"}
    with pytest.raises(ConfigError, match=r"number of 'unsafe' is not known.*classifier.labels"):
        ClassifierReward.from_config("safe", ClassifierRewardConfig.model_validate(remote), GUARD)
    named = remote | {"classifier": {**at, "labels": ["safe", "unsafe"]}}
    reward = ClassifierReward.from_config(
        "safe", ClassifierRewardConfig.model_validate(named), GUARD
    )
    assert reward.channels == {"": 1}


def test_a_classifier_without_a_chat_template_needs_another(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, chat_template=False)
    with pytest.raises(ConfigError, match=r"rewards.safe.template: .* has no chat template"):
        built(folder, label=0)
    assert built(folder, label=0, template="pair").question.text == "pair"


def test_a_language_model_is_refused_before_it_is_loaded(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"serve.model: .* is a LlamaForCausalLM and gives no"):
        built(tiny_model, label=0)


@pytest.mark.parametrize("path", ["nowhere/at/all", "/no/such/folder"])
def test_a_classifier_that_is_not_there_is_refused_in_a_sentence(path: str) -> None:
    with pytest.raises(ConfigError, match=r"rewards\.safe\.classifier\.serve\.model: there is no"):
        built(path, label=0)


def test_the_judge_of_held_out_prompts_takes_no_classifiers_place() -> None:
    suite = RewardSuite([SAFE]).asking("gold")
    assert suite.asked_judges == (GUARD,)


def run(**rewards: Any) -> RunConfig:
    return tiny_config(Path("unused"), rewards=rewards)


def test_rewards_with_the_same_table_share_a_classifier() -> None:
    at = {"model": "guard", "endpoints": [{"url": "http://localhost:8000"}]}
    config = run(
        safe={"classifier": at, "label": 0},
        calm={"classifier": at, "label": 1},
        slow={"classifier": at | {"timeout_s": 3}, "label": 1},
        paired={"classifier": at | {"timeout_s": 4}, "label": 1, "template": "pair"},
        own={"classifier": "a/folder", "label": 0},
        same={"classifier": {"serve": {"model": "a/folder"}}, "label": 1, "template": "pair"},
    )
    found = classifiers(config.rewards)
    assert list(found) == [f"{name}.classifier" for name in ("safe", "slow", "paired", "own")]
    assert [judge.route for judge in found.values()] == [
        "classify",
        "classify",
        "score",
        "classify",
    ]


def test_a_failed_score_makes_its_answer_unusable() -> None:
    lost = Answer(value=None, failure="timeout")
    assert SAFE.unusable(make_prompt(), {SAFE.question: lost}) == {SAFE.question}
    assert SAFE.unusable(make_prompt(), {SAFE.question: scores(0.5, 0.5)}) == set()
    (cell,) = SAFE.cells(make_prompt(), {SAFE.question: lost})
    assert cell.score == Failed("timeout")


def test_one_table_is_not_asked_by_two_routes_with_twice_its_limits() -> None:
    at = {"model": "guard", "endpoints": [{"url": "http://localhost:8000"}]}
    chat, pair = ({"classifier": at, "label": 0, "template": t} for t in ("chat", "pair"))
    for rewards in ({"one": chat, "other": pair}, {"one": pair, "other": chat}):
        with pytest.raises(ValueError, match=r"rewards.other.template: pair .* rewards.one"):
            run(**rewards)
    assert len(classifiers(run(one=pair, other=pair).rewards)) == 1


def test_a_name_of_several_labels_is_none(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, ("good", "bad", "bad"))
    with pytest.raises(ConfigError, match=r"safe.label: .* 2 labels named 'bad'; .* of 1, 2"):
        built(folder, label="bad")
    assert built(folder, label=2).channels == {"": 2}
    assert built(folder, label="good").channels == {"": 0}


def test_weights_that_may_not_be_loaded_are_told_of_before_a_run_begins(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, safe=False)
    with pytest.raises(ConfigError, match=r"serve.model: .* pickle.*serve.allow_pickle: true"):
        built(folder, label=0)
    trusted = {"serve": {"model": str(folder), "allow_pickle": True}}
    config = ClassifierRewardConfig.model_validate({"classifier": trusted, "label": 0})
    assert ClassifierReward.from_config("safe", config, GUARD).labels == LABELS
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ConfigError, match=r"serve.model: there are no weights"):
        ClassifierReward.from_config("safe", config, GUARD)
