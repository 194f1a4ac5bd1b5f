"""One meaning of good enough: all who report it count the same samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo import Rewards
from rvpo.advantage.level import levels
from rvpo.compare.neglect import Scale, counts
from rvpo.replay.measured import measured
from rvpo.report.at_k import AtK
from rvpo.report.held_out import HeldOutScores
from rvpo.report.score_files import StepScores
from rvpo.rewards.metrics import reward_metrics
from rvpo.satisfied import Satisfied
from rvpo.types import RolloutScores
from tests.fakes import with_columns

NAMES = ("first", "second")
GRADES = st.sampled_from([0.0, 0.3, 0.49, 0.5, 0.9, 0.99, 1.0])
ROWS = st.lists(st.tuples(GRADES, GRADES), min_size=2, max_size=8)
DECLARED = st.sampled_from([None, Satisfied(0, 0.5), Satisfied(0, 0.9), Satisfied(-1, 1)])


def scored(rows: list[tuple[float, float]], declared: list[Satisfied | None]) -> RolloutScores:
    return with_columns(Rewards(torch.tensor(rows), NAMES, len(rows), satisfied=declared))


def thresholds(found: RolloutScores) -> dict[str, float]:
    """The declarations, as commands read them of the settings."""
    said = zip(NAMES, found.rewards.satisfied, strict=True)
    return {name: each.good for name, each in said if each is not None}


def by_training(found: RolloutScores) -> Mapping[str, float]:
    metrics = reward_metrics(found)
    told = {name: metrics.get(f"rewards/{name}/met_frac") for name in NAMES}
    told["all"] = metrics.get("rewards_joint/satisfied_all_frac")
    return {name: share for name, share in told.items() if share is not None}


def by_comparison(found: RolloutScores) -> Mapping[str, float]:
    evaluation = HeldOutScores.of(found, ["p"])
    scale = Scale.of([evaluation], thresholds(found))
    every = counts(evaluation, scale)
    values = zip(NAMES, evaluation.values.reshape(-1, 2).T, scale.enough.tolist(), strict=True)
    told = {name: float(np.mean(v >= enough)) for name, v, enough in values if enough == enough}
    joint = every.get("all satisfied")
    return told if joint is None else told | {"all": joint.whole}


def by_answers(found: RolloutScores) -> Mapping[str, float]:
    rule = AtK(at=(1,), joint=NAMES, satisfied=thresholds(found))
    told = rule.of(found, [None] * len(found.rewards.values))
    shares = {name: told[f"eval/pass@1/{name}"].item() for name in NAMES}
    return shares | {"all": told["eval/all_satisfied@1"].item()}


def by_advice(found: RolloutScores) -> Mapping[str, float]:
    count = len(found.rewards.values)
    step = StepScores(
        step=1,
        progress=0.0,
        rewards=found.rewards,
        aspects=found.aspects,
        advantages=torch.zeros(count),
        trained=torch.ones(count, dtype=torch.bool),
    )
    return {each.name: each.met for each in measured([step]).rewards if each.is_declared}


def by_levels(found: RolloutScores) -> Mapping[str, float]:
    full = levels(found.rewards) == 1
    shares = dict(zip(NAMES, full.double().mean(dim=0).tolist(), strict=True))
    return shares | {"all": full.all(dim=1).double().mean().item()}


EVERY = (by_training, by_comparison, by_answers, by_advice, by_levels)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, declared=st.lists(DECLARED, min_size=2, max_size=2))
def test_all_who_count_what_is_satisfied_agree(
    rows: list[tuple[float, float]], declared: list[Satisfied | None]
) -> None:
    found = scored(rows, declared)
    goods = [1.0 if each is None else each.good for each in declared]
    met = np.array(rows) >= np.array(goods)
    expected = dict(zip(NAMES, met.mean(axis=0), strict=True)) | {"all": met.all(axis=1).mean()}
    for told in EVERY:
        shares = told(found)
        assert shares == pytest.approx({name: expected[name] for name in shares})
        assert set(NAMES) <= shares.keys()


def test_of_undeclared_scores_outside_0_to_1_nobody_says_what_is_satisfied() -> None:
    found = scored([(2.0, 1.0), (-1.0, 0.0)], [None, None])
    for told in (by_training, by_comparison, by_advice):
        assert told(found).keys() == {"second"}
    assert by_answers(found)["first"] == 0.5  # at k a number is asked for: 1 and more
