"""The rule for missing scores: one word, one meaning, whatever the estimator."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.advantage import (
    GDPO,
    GRPO,
    RVPO,
    Estimator,
    HardMin,
    MeanVariance,
    RawRVPO,
    RubricDropout,
)
from rvpo.advantage.missing import Missing, read
from rvpo.types import Rewards

from .matrices import FIELD_B, few, label, matrix, rows
from .test_reference import steps

Rows = tuple[list[list[float | None]], int]
RULES = get_args(Missing)
EVERY = [GRPO(), GDPO(), RVPO(), RVPO(k=math.inf), MeanVariance(), HardMin(), RawRVPO(), *FIELD_B]
every = pytest.mark.parametrize("estimator", EVERY, ids=label)
every_rule = pytest.mark.parametrize("rule", RULES)


def test_all_estimators_have_the_rule_by_one_name() -> None:
    for kind in get_args(Estimator):
        hints = get_type_hints(kind)
        assert hints["missing"] == Missing
        names = {field.name for field in fields(kind)}
        assert names.isdisjoint({"require_all", "standardise"})


@every
@few
@given(case=rows(missing=True))
def test_every_rule_is_taken_by_every_estimator(estimator: Any, case: Rows) -> None:
    for rule in RULES:
        assert torch.isfinite(replace(estimator, missing=rule)(matrix(*case)).values).all()


@every
@few
@given(case=rows())
def test_the_rules_are_one_where_no_score_is_missing(estimator: Any, case: Rows) -> None:
    found = [replace(estimator, missing=rule)(matrix(*case)) for rule in RULES]
    for one, other in itertools.pairwise(found):
        assert torch.equal(one.values, other.values)
        assert torch.equal(one.trained, other.trained)
        assert one.metrics == other.metrics


@every
@few
@given(case=rows(missing=True))
def test_zero_is_as_if_the_scores_had_been_0(estimator: Any, case: Rows) -> None:
    values, size = case
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    filled: list[list[float | None]] = []
    for group in groups:
        there = [any(row[j] is not None for row in group) for j in range(len(group[0]))]
        for row in group:
            known = any(score is not None for score in row)
            zeros = [
                0.0 if score is None and each else score
                for score, each in zip(row, there, strict=True)
            ]
            filled.append(zeros if known else row)
    found = replace(estimator, missing="zero")(matrix(values, size))
    expected = replace(estimator, missing="drop")(matrix(filled, size))
    torch.testing.assert_close(found.values, expected.values)
    assert torch.equal(found.trained, expected.trained)


@every
@given(step=steps())
def test_skip_sample_leaves_out_who_lacks_what_siblings_have(estimator: Any, step: Any) -> None:
    rewards = matrix(step.scores, step.group_size, step.weights)
    found = replace(estimator, missing="skip_sample")(rewards)
    for i, is_trained in enumerate(found.trained.tolist()):
        assert not (is_trained and step.lacks(i))
    whole = [i for i in range(len(step.scores)) if step.usable(i) and not step.lacks(i)]
    # GRPO also needs a sibling to compare the sum with, Rubric Dropout a score that is not dropped.
    if not isinstance(estimator, GRPO | RubricDropout):
        assert found.trained.nonzero()[:, 0].tolist() == whole


@pytest.mark.parametrize("estimator", [GRPO(), GDPO(), RawRVPO(k=0.0)], ids=label)
def test_group_mean_moves_nothing(estimator: Any) -> None:
    # The second reward of the last row is as if nobody had it: the first one orders the rows.
    rewards = matrix([[0.0, 10.0], [1.0, 10.0], [0.5, None]], 3)
    values = replace(estimator, missing="group_mean")(rewards).values
    assert values[2].item() == pytest.approx(0, abs=1e-9)
    assert values[0] < values[2] < values[1]


@given(case=rows(missing=True), weights=st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=4))
def test_gdpo_reads_a_dropped_score_and_one_of_the_group_mean_alike(
    case: Rows, weights: list[float]
) -> None:
    values, size = case
    rewards = matrix(values, size, weights[: len(values[0])])
    one, other = (GDPO(missing=rule)(rewards).values for rule in ("drop", "group_mean"))
    torch.testing.assert_close(one, other)


def test_a_minimum_is_harder_on_a_score_of_the_group_mean_than_on_none() -> None:
    rewards = matrix([[0.0, 0.0], [1.0, None], [0.0, 1.0]], 3)
    dropped, mean = (
        HardMin(missing=rule, whiten=False)(rewards).values[1] for rule in ("drop", "group_mean")
    )
    assert dropped > 1
    assert mean == 0


@every_rule
@given(step=steps())
def test_masks_keep_their_order(rule: Missing, step: Any) -> None:
    rewards = matrix(step.scores, step.group_size, step.weights)
    found = read(rewards, rule, 1e-4)
    assert (found.usable <= found.counted).all()
    assert (found.counted <= found.scores.comparable).all()
    assert (found.scores.constant <= found.scores.comparable).all()
    assert (found.trained <= found.usable.any(dim=1)).all()
    weighted = found.rewards.weighted
    assert torch.equal(found.usable, weighted & found.scores.comparable)
    assert torch.isfinite(found.values).all()


@every_rule
def test_a_score_that_no_sibling_has_does_not_exist(rule: Missing) -> None:
    alone = matrix([[0.0, None], [1.0, None]], 2)
    found = read(alone, rule, 1e-4)
    assert found.counted.tolist() == [[True, False]] * 2
    assert found.trained.all()


@every_rule
def test_a_step_without_samples_reads_as_one(rule: Missing) -> None:
    found = read(Rewards(torch.zeros(0, 2), ["a", "b"], 4), rule, 1e-4)
    assert found.trained.shape == (0,)
