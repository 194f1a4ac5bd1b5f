"""Staleness is told of every token, and of whole samples where their tokens agree."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.report.metrics import entry_of
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.metrics import completion_metrics
from rvpo.types import Rollout
from tests.fakes import make_sample

STEP = 9
versions = st.lists(st.integers(0, STEP), min_size=2, max_size=5)


def staleness(*samples: list[int]) -> dict[str, float]:
    """The metrics of samples whose tokens have these versions."""
    made = [
        replace(
            make_sample(text="x" * len(each), policy_version=min(each)),
            versions=tuple(each) if len(set(each)) > 1 else (),
        )
        for each in samples
    ]
    metrics = completion_metrics(STEP, Rollout(samples=tuple(made), group_size=1), Ranks.alone())
    return {name: value for name, value in metrics.items() if name.startswith("policy/")}


@given(st.lists(versions, min_size=1, max_size=4))
def test_staleness_is_that_of_tokens(samples: list[list[int]]) -> None:
    found = staleness(*samples)
    ages = [[STEP - version for version in each] for each in samples]
    assert found["policy/staleness_mean"] == pytest.approx(fmean(map(fmean, ages)))
    assert found["policy/staleness_max"] == max(map(max, ages))
    mixed = sum(len(set(each)) > 1 for each in samples) / len(samples)
    assert found.get("policy/mixed_frac", 0) == pytest.approx(mixed)
    assert all(entry_of(name) == name for name in found)


def test_samples_of_one_version_have_the_mean_of_their_ages() -> None:
    found = staleness([7, 7], [8], [9, 9, 9])
    assert found == {
        "policy/version": STEP,
        "policy/staleness_mean": 1.0,
        "policy/staleness_max": 2,
    }
