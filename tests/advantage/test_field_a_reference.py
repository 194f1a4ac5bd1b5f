"""The estimators that weigh z-scores anew equal the plain loops of `reference_field_a`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close as close

from rvpo.advantage import DARA, DVAO, GD2PO, GDPOSAW, SAMRPO, CorrGRPO
from rvpo.satisfied import Satisfied

from . import reference, reference_field_a
from .matrices import matrix
from .test_reference import options, steps

WITHIN = Satisfied(bad=-2.0, good=2.5)
"""Some of the scores drawn are below, and some above."""

ESTIMATORS = [
    DARA(),
    DARA(amplify="both", cap=1.2),
    GDPOSAW(),
    GDPOSAW(over="group"),
    DVAO(),
    GD2PO(),
    GD2PO(tau=0.8),
    CorrGRPO(),
    SAMRPO(),
    SAMRPO(gamma=2.0, over="group"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
@settings(max_examples=40, deadline=None)
@given(step=steps(), chosen=options)
def test_equals_the_plain_loops(
    estimator: Any, step: reference.Step, chosen: dict[str, Any]
) -> None:
    if isinstance(estimator, DVAO | CorrGRPO):
        chosen = {**chosen, "scale": "group"}
    check(replace(estimator, **chosen), step)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_equals_the_plain_loops_where_there_are_many_samples(estimator: Any) -> None:
    chance = torch.Generator().manual_seed(4)
    for missing in ("drop", "group_mean", "zero", "skip_sample"):
        scores = torch.randint(0, 3, (48, 5), generator=chance) / 2
        has = torch.rand(48, 5, generator=chance) < 0.9
        step = reference.Step(
            scores=[
                [s if h else None for s, h in zip(row, own, strict=True)]
                for row, own in zip(scores.tolist(), has.tolist(), strict=True)
            ],
            weights=[[1.0, 0.5, 2.0, 0.0, 1.0]] * 48,
            group_size=8,
        )
        check(replace(estimator, missing=missing), step)


def check(estimator: Any, step: reference.Step) -> None:
    plain = matrix(step.scores, step.group_size, step.weights)
    found = estimator(replace(plain, satisfied=[WITHIN] * len(plain.names)))
    expected = reference_field_a.run(estimator, step, WITHIN)
    assert found.trained.tolist() == expected.trained
    for tensor, numbers in ((found.z, expected.z), (found.values, expected.values)):
        close(tensor, torch.tensor(numbers, dtype=torch.double), rtol=1e-9, atol=1e-9)
    told = {name: x for name, x in found.metrics.items() if "/pull/" not in name}
    assert told == pytest.approx(
        {name: x for name, x in expected.metrics.items() if "/pull/" not in name},
        rel=1e-9,
        abs=1e-9,
    )
