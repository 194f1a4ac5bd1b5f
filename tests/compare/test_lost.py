"""A comparison says where scores are missing, and counts none of them as a zero."""

from __future__ import annotations

import math

import pytest

from rvpo.compare.lost import lost
from rvpo.compare.neglect import Scale, counts
from rvpo.report.held_out import HeldOutScores
from tests.fakes import make_scores

FAILURES = {(1, 0): "world_broken: it is gone", (1, 1): "world_broken: it is gone"}


def scores(*, is_broken: bool) -> HeldOutScores:
    rows: list[list[float | None]] = [[1.0, 0.5], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]]
    if is_broken:
        rows[1] = [None, None]
    scored = make_scores(rows, failures=FAILURES if is_broken else {})
    return HeldOutScores.of(scored, ["p/0", "p/1"])


def test_the_arm_that_lost_scores_after_the_last_step_is_named_with_its_share() -> None:
    broken, whole = scores(is_broken=True), scores(is_broken=False)
    assert lost({"grpo": [{0: broken, 4: whole}]}) == []
    assert lost({"grpo": [{0: whole, 4: whole}], "rvpo": [{4: broken}, {4: whole}]}) == [
        "rvpo: 12.5% of the held-out scores of correct after the last step are missing; its "
        "figures are those of the others"
    ]


def test_an_episode_without_scores_changes_no_figure() -> None:
    scale = Scale.of([scores(is_broken=False)], {"correct": 1.0, "brief": 0.5})
    whole = counts(scores(is_broken=False), scale)
    broken = counts(scores(is_broken=True), scale)
    assert broken.keys() == whole.keys()
    for name, each in broken.items():
        assert each.whole == pytest.approx(whole[name].whole), name


def test_where_no_score_is_there_at_all_nothing_is_known_and_nothing_breaks() -> None:
    rows: list[list[float | None]] = [[None, None]] * 4
    gone = {(row, column): "world_broken: it is gone" for row in range(4) for column in range(2)}
    none = HeldOutScores.of(make_scores(rows, failures=gone), ["p/0", "p/1"])
    found = counts(none, Scale.of([none], {"correct": 1.0, "brief": 0.5}))
    assert all(math.isnan(each.whole) for each in found.values())
