"""What an evaluation is to give, and what a run is to end by, is agreed before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rvpo.config.diff import MAY_CHANGE_ON_RESUME, changed_settings
from rvpo.config.run import RunConfig
from rvpo.types import Sampling
from tests.configs import tiny_config

HELD_OUT = {"held_out": {"function": "tests.toy:letters", "arguments": {"count": 4}}}


def run(evaluate: dict[str, Any], **sections: Any) -> RunConfig:
    return tiny_config(Path("model"), **{"data": HELD_OUT, "evaluate": evaluate} | sections)


def stop(metric: str, **fields: Any) -> dict[str, Any]:
    return {"every": 1, "early_stop": {"metric": metric, "patience": 2, **fields}}


def test_a_number_or_a_list_of_them_may_be_wanted() -> None:
    assert run({"at_k": 4}).evaluate.at_k == (4,)
    assert run({"at_k": [4, 1, 4]}).evaluate.at_k == (1, 4)
    assert run({}).evaluate.at_k == ()


def test_the_sampling_of_evaluation_takes_the_place_of_that_of_training() -> None:
    config = run({"temperature": 0.6, "top_p": 0.95})
    assert config.evaluate.sampling(config.rollout.sampling) == Sampling(
        temperature=0.6, max_completion_tokens=8, top_p=0.95
    )
    assert run({}).evaluate.sampling(config.rollout.sampling) is None


def test_the_likeliest_answer_is_taken_once() -> None:
    assert run({"temperature": 0}).evaluate.samples_per_prompt == 1
    assert run({"temperature": 0, "samples_per_prompt": 2}).evaluate.samples_per_prompt == 2
    assert run({"temperature": 0.5}).evaluate.samples_per_prompt == 4


@pytest.mark.parametrize(
    ("evaluate", "sections", "words"),
    [
        ({"at_k": [8]}, {}, r"at_k: 8 answers cannot be taken from samples_per_prompt=4"),
        ({"at_k": [0]}, {}, "greater than 0"),
        (
            {"at_k": [2], "temperature": 0, "samples_per_prompt": 2},
            {},
            "are the same, and 2 are no",
        ),
        ({"at_k": [1]}, {"data": {"held_out": None}}, r"evaluate.at_k: .* there are none"),
        ({"satisfied": {"vowel": 1}}, {}, r"'vowel' is no reward; did you mean 'vowels'\?"),
        (stop("eval/pass@2/vowels"), {}, r"given for the k of evaluate.at_k alone; add 2 to it"),
        (stop("eval/pass@1/vowel") | {"at_k": 1}, {}, r"is of no reward; did you mean 'vowels'\?"),
        (stop("eval/rewards/x/mean"), {}, "is of no reward; there are vowels, late"),
        (stop("eval/rewards/late/mean"), {"data": {"held_out": None}}, "of held-out prompts, and"),
        (stop("eval/bfcl/accuracy"), {}, "add evaluate.benchmarks.bfcl"),
        (stop("judge_gap/late"), {}, "early_stop.metric: .* given by the watch alone"),
        (stop("judge_gap/x", patience=None), {}, "names nothing that would ever stop the run"),
        (
            stop("judge_gap/x", patience=None, goal=1, min_delta=0.1),
            {},
            "min_delta: belongs to patience",
        ),
        (stop("eval/x", patience=4), {}, "4 evaluations cannot end the run, since there are 3"),
        (stop("eval/pas@2/late"), {}, "'eval/pas@2/late' is no metric of evaluation; such are"),
        (stop("reward"), {}, "'reward' is no metric of evaluation"),
        (stop("eval/all_satisfied@2/late") | {"at_k": 2}, {}, "is no metric of evaluation"),
        ({"stop": {"metric": "eval/x", "patience": 2}}, {}, "that ends the run is early_stop"),
        ({"early_stop": {"metric": "eval/x", "goal": 1}}, {}, "make evaluate.every above 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    evaluate: dict[str, Any], sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        run(evaluate, **sections)


@pytest.mark.parametrize("best", ["eval/maj@3/late", "eval/all_satisfied@2", "eval/gpqa/accuracy"])
def test_the_best_model_is_chosen_by_what_there_is(best: str) -> None:
    checkpoint = {"best": best}
    with pytest.raises(ValidationError, match=r"checkpoint.best: "):
        run({}, checkpoint=checkpoint)
    benchmarks = {"gpqa": {"path": "gpqa_diamond.csv"}}
    run({"at_k": [2, 3], "benchmarks": benchmarks}, checkpoint=checkpoint)


def test_a_run_may_end_by_any_metric_of_evaluation() -> None:
    for metric in ("eval/rewards/late/mean", "eval/pass@2/late", "eval/all_satisfied@2"):
        rule = run(stop(metric) | {"at_k": 2}).evaluate.early_stop
        assert rule is not None
        assert rule.metric == metric


def test_a_resumed_run_may_end_by_another_rule_but_counts_the_same() -> None:
    first, later = run(stop("eval/rewards/late/mean")), run({"every": 1})
    assert changed_settings(first, later, MAY_CHANGE_ON_RESUME) == []
    assert changed_settings(later, run({"every": 1, "at_k": 2}), MAY_CHANGE_ON_RESUME) == [
        "evaluate.at_k"
    ]
