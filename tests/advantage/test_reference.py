"""Every estimator, under every option, equals the plain loops of `reference`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close as close

from rvpo.advantage import GDPO, GRPO, RVPO, HardMin, LevelMin, MeanVariance, RawRVPO
from rvpo.advantage.missing import InputKind, Missing
from rvpo.satisfied import Satisfied

from . import reference
from .matrices import label, matrix

UNITS = (1.0, 3.0, 0.5, 2.0)
"""Each channel has its own: two that rank a group alike then differ by eps, far above rounding, and
z-scores tie where they are exactly 0, or not at all."""

ESTIMATORS: list[reference.Whitened] = [
    GDPO(),
    RVPO(k=0.0),
    RVPO(k=1.5),
    RVPO(k=math.inf),
    MeanVariance(beta=0.7),
    HardMin(),
    RawRVPO(k=0.0),
    RawRVPO(k=1.5),
    RawRVPO(k=math.inf),
    LevelMin(k=0.0),
    LevelMin(k=4.0, rarity=0.0),
    LevelMin(k=4.0, missing="drop"),
    LevelMin(k=math.inf, rarity=0.5, scale="group"),
]
inputs = st.sampled_from(get_args(InputKind))
missing = st.sampled_from(get_args(Missing))
options = st.fixed_dictionaries(
    {
        "dead_channels": st.sampled_from(["keep", "mask"]),
        "dead_groups": st.sampled_from(["keep", "recentre", "mask"]),
        "missing": missing,
        "whiten": st.booleans(),
        "scale": st.sampled_from(["group", "none"]),
    }
)
graded = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-3, 3).map(lambda x: round(x, 4))
"""None so small that rounding says whether it counts as 0."""
declarations = st.sampled_from([Satisfied(-10, 10), Satisfied(-9, 1), Satisfied(0, 0.5)])
weighed = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@st.composite
def steps(draw: st.DrawFn) -> reference.Step:
    """Up to 3 groups of 1 to 4 rows and 4 channels, with dead ones, gaps and weights of 0."""
    size = draw(st.integers(1, 4))
    channels = draw(st.integers(1, 4))
    scores: list[list[float | None]] = []
    weights: list[list[float]] = []
    for _ in range(draw(st.integers(1, 3))):
        columns, shared = [], draw(st.lists(weighed, min_size=channels, max_size=channels))
        for unit in UNITS[:channels]:
            score = st.just(draw(graded)) if draw(st.booleans()) else graded
            drawn = draw(st.lists(score | score | score | st.none(), min_size=size, max_size=size))
            columns.append([None if value is None else unit * value for value in drawn])
        scores += [list(row) for row in zip(*columns, strict=True)]
        alike = draw(st.booleans())
        own = st.lists(weighed, min_size=channels, max_size=channels)
        weights += [shared if alike else draw(own) for _ in range(size)]
    declared = draw(st.lists(declarations, min_size=channels, max_size=channels))
    return reference.Step(scores=scores, weights=weights, group_size=size, satisfied=declared)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=label)
@settings(max_examples=75)  # for each of the estimators, which share most of what they do
@given(step=steps(), chosen=options, read=inputs)
def test_equals_the_plain_loops(
    estimator: reference.Whitened, step: reference.Step, chosen: dict[str, Any], read: InputKind
) -> None:
    of_levels = isinstance(estimator, LevelMin)
    check(replace(estimator, **chosen, **({} if of_levels else {"inputs": read})), step)


@settings(max_examples=150)
@given(
    step=steps(), scale=st.sampled_from(["group", "batch", "none"]), missing=missing, read=inputs
)
def test_grpo_equals_the_plain_loops(
    step: reference.Step, scale: Any, missing: Missing, read: InputKind
) -> None:
    check(GRPO(scale=scale, missing=missing, inputs=read), step)


def check(estimator: reference.Whitened | GRPO, step: reference.Step) -> None:
    found = estimator(matrix(step.scores, step.group_size, step.weights, step.satisfied))
    expected = reference.run(estimator, step)
    assert found.trained.tolist() == expected.trained
    for tensor, numbers in ((found.z, expected.z), (found.values, expected.values)):
        close(tensor, torch.tensor(numbers, dtype=torch.double), rtol=1e-9, atol=1e-9)
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-9, abs=1e-9)
