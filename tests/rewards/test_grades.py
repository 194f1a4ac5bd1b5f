"""Grades become scores, and a reference and a template are there before anything is spent."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import weighed
from rvpo.config.run import dump_config, load_config
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError, DataError
from rvpo.judge.types import Answer, Question
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.scale import scale_of
from tests.config.test_judge_config import load
from tests.fakes import make_criteria, make_prompt
from tests.rewards.test_judged_rewards import CHANNELS, failing, judged

WORDS = scale_of({0: "missing", 1: "partly", 2: "fully"})


def grades(response: str, question: Question) -> Answer:
    """The share of a criterion's letters that a response has, as a judge by three grades."""
    return Answer(value=sum(c in response for c in question.text) / 2)


def test_grades_are_scores_between_0_and_1_whose_polarity_is_applied_afterwards() -> None:
    prompts = [make_prompt("p/0", rubric=make_criteria("ab", "!cd"))]
    scored = judged(replace(CHANNELS, scale=WORDS), prompts, "abcd", "ac", "b", rule=grades)
    assert scored.rewards.values.tolist() == [[1, 0], [0.5, 0.5], [0.5, 1]]
    assert scored.remarks[1, 0].answer == "1 of 0 to 2 (partly)"
    metrics = reward_metrics(scored)
    assert metrics["rewards_joint/worst_mean"] == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert metrics["rewards_joint/satisfied_all_frac"] == 0


def test_the_mean_of_grades_is_weighed_by_class_and_fails_with_any() -> None:
    reward = replace(CHANNELS, form="explicit", scale=WORDS, weighing="class")
    rubric = [
        *make_criteria("ab", label="essential"), *make_criteria("!cd", label="pitfall")
    ]  # fmt: skip
    prompts = [make_prompt("p/0", rubric=rubric)]
    scored = judged(reward, prompts, "ac", "cd", rule=grades)
    assert scored.rewards.values[:, 0].tolist() == pytest.approx([0.5, 0.0])
    assert scored.remarks[0, 0].answer == "2 graded"
    assert judged(reward, prompts, "a", "b", rule=failing("cd")).failures == {
        (0, 0): "timeout",
        (1, 0): "timeout",
    }


def test_a_criterion_may_have_grades_of_its_own() -> None:
    fixed = {
        "kind": Criterion(text="ab"),
        "long": Criterion(text="cd", scale=scale_of([1, 2, 3, 4])),
    }
    for scale in ((), WORDS):
        reward = replace(CHANNELS, fixed=fixed, scale=scale)
        kind, long = reward.questions(make_prompt())
        assert kind.scale == scale
        assert [number for number, _ in long.scale] == [1, 2, 3, 4]
    scored = judged(replace(reward, form="explicit", scale=()), [make_prompt()], "ab", "x")
    assert [scored.remarks[row, 0].answer for row in (0, 1)] == [
        "1 of 1 met, 1 graded",
        "0 of 1 met, 1 graded",
    ]


def test_data_bring_grades_with_their_criteria() -> None:
    rubric = [{"text": "ab", "scale": {"0": "no", "1": "yes"}}, {"text": "cd", "scale": None}]
    first, second = CHANNELS.questions(make_prompt(rubric=rubric))
    assert (first.scale, second.scale) == (((0.0, "no"), (1.0, "yes")), ())
    with pytest.raises(DataError, match=r"holds no criteria .a scale has 2 to 20 grades"):
        CHANNELS.questions(make_prompt(rubric=[{"text": "ab", "scale": [1]}]))


def test_a_rating_has_the_grades_of_its_reward() -> None:
    reward = replace(CHANNELS, form="implicit", scale=scale_of([1, 2, 3]))
    prompts = [make_prompt(rubric=make_criteria("a", "b"))]
    scored = judged(reward, prompts, "a", "ab")
    assert scored.rewards.values[:, 0].tolist() == [0.5, 1]
    assert scored.remarks[0, 0].answer == "2 of 1 to 3"


def test_the_reference_of_a_prompt_is_shown_and_one_that_is_not_there_is_told() -> None:
    reward = replace(CHANNELS, reference="answer")
    prompts = [make_prompt(f"p/{i}", rubric=make_criteria("a"), answer=i) for i in range(2)]
    assert [q.reference for p in prompts for q in reward.questions(p)] == ["0", "1"]
    suite = RewardSuite([reward])
    suite.check_criteria(prompts, "data.train: x")
    for columns, told in (
        ({"answers": "x"}, "no column 'answer', it has rubric, answers; did you mean 'answers'"),
        ({}, "no column 'answer', it has rubric; name the column"),
        ({"answer": None}, "'answer' is empty"),
        ({"answer": " \n"}, "'answer' is empty"),
        ({"answer": "\u200b \ufeff"}, "'answer' is empty"),
        ({"answer": float("nan")}, "'answer' is nan; give every prompt"),
        ({"answer": float("-inf")}, "'answer' is -inf; give every prompt"),
        ({"answer": ["x"]}, "'answer' holds a list; a reference answer is text"),
    ):
        lacking = make_prompt("p/2", rubric=make_criteria("a"), **columns)
        for check in (suite.fitted, lambda p: suite.check_criteria(p, "data.train: x")):
            with pytest.raises(DataError, match=re.escape(told)) as refused:
                check([*prompts, lacking])
            assert "rewards.rubric.reference: prompt 'p/2'" in str(refused.value)
    fixed = replace(reward, fixed={"kind": Criterion(text="kind")})
    with pytest.raises(DataError, match=r"row 1, .*'answer' is empty"):
        RewardSuite([fixed]).check_criteria([prompts[0], make_prompt(answer="")], "data.train: x")


def test_a_prompt_without_criteria_needs_no_reference() -> None:
    reward = replace(CHANNELS, reference="answer")
    prompts = [make_prompt(rubric=make_criteria("a"), answer="b"), make_prompt("q", rubric=[])]
    RewardSuite([reward]).check_criteria(prompts, "data.train: x")


def test_grades_of_the_data_that_begin_alike_have_no_probability() -> None:
    rubric = [{"text": "a", "scale": list(range(1, 11))}]
    CHANNELS.fitted([make_prompt(rubric=rubric)])
    with pytest.raises(
        DataError, match=r"criterion 'a': grade: probability .* 1 and 10 begin alike"
    ):
        replace(CHANNELS, expected=True).fitted([make_prompt(rubric=rubric)])


@pytest.mark.parametrize(
    "template", ["<<response>> <<criterion>>", "<<response>> <<criterion>> <<reference>>"]
)
@pytest.mark.parametrize("reference", ["", "answer"])
def test_a_template_shows_a_reference_where_and_only_where_there_is_one(
    template: str, reference: str, tmp_path: Path
) -> None:
    file = tmp_path / "judge.txt"
    file.write_text(template)
    endpoints = [{"url": "http://127.0.0.1:1/v1"}]
    judge = JudgeConfig.model_validate({"model": "m", "endpoints": endpoints, "template": file})
    suite = RewardSuite([replace(CHANNELS, reference=reference)])
    if ("<<reference>>" in template) == bool(reference):
        suite.check_templates({"judge": judge})
        return
    with pytest.raises(ConfigError, match=r"rewards\.rubric") as refused:
        suite.check_templates({"judge": judge})
    assert "<<reference>>" in str(refused.value)
    suite.check_templates({"gold": judge})  # which nobody asks
    with pytest.raises(ConfigError, match=r"rewards\.rubric"):
        suite.check_templates({"gold": judge}, ["gold"])


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ("scale: 3", "a scale is a table of numbers and words"),
        ("scale: {0: no, 1: yes}", "in quotes where YAML reads something else, got False"),
        ("scale: [1]", "a scale has 2 to 20 grades"),
        ("criteria: {a: {text: b, scale: [0, 0]}}", "the numbers of a scale must differ"),
        ("grade: chance", "choose from"),
        ("grade: probability, scale: [0, 0.5, 1]", "0 and 0.5 begin alike"),
        (
            "grade: probability, criteria: {a: {text: b, scale: [1, 10]}}",
            "criteria.a.scale: grade: probability",
        ),
    ],
)
def test_settings_of_grades_are_refused_in_a_sentence(
    reward: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load(tmp_path, rewards=f"{{r: {{rubric: channels, {reward}}}}}")


def test_a_rating_takes_the_scale_of_the_reward_and_not_of_criteria(tmp_path: Path) -> None:
    for reward, told in (
        ("grade: probability", "a rating goes from 1 to 10; give a scale of figures"),
        ("criteria: {a: {text: b, scale: [0, 1]}}", "give the reward a `scale`"),
    ):
        with pytest.raises(ConfigError, match=re.escape(told)):
            load(tmp_path, rewards=f"{{r: {{rubric: implicit, {reward}}}}}")
    load(tmp_path, rewards="{r: {rubric: implicit, grade: probability, scale: [1, 2, 3]}}")


def test_settings_of_grades_survive_their_file(tmp_path: Path) -> None:
    written = load(
        tmp_path,
        rewards="{r: {rubric: explicit, reference: answer, grade: probability, "
        'scale: {"0": missing, 2: "no doubt", 1: partly}, '
        "criteria: {a: {text: b, scale: [-1, 0, 1]}, c: d}}}",
        judge="{serve: x, template: judge.txt}",
    )
    file = tmp_path / "again.yaml"
    file.write_text(dump_config(written), encoding="utf-8")
    assert load_config(file) == written.model_copy(update={"output": load_config(file).output})
    suite = RewardSuite.from_config(written.rewards, written.every_judge)
    (reward,) = suite.rewards
    assert isinstance(reward, RubricReward)
    assert (reward.reference, reward.expected) == ("answer", True)
    assert [q.scale for q in reward.questions(make_prompt(answer="x"))] == [
        scale_of([-1, 0, 1]),
        scale_of({0: "missing", 1: "partly", 2: "no doubt"}),
    ]


def test_judges_whose_log_probabilities_count_are_those_that_are_asked_for_them(
    tmp_path: Path,
) -> None:
    rewards = load(
        tmp_path,
        rewards="{r: {rubric: channels, grade: probability}, s: {rubric: channels}}",
    ).rewards
    assert weighed(rewards, ["judge"], ["gold"]) == {"judge", "gold"}
    assert weighed({"s": rewards["s"]}, ["judge"], ["gold"]) == set()
