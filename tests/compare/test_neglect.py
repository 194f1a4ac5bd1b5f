"""Metrics of neglect, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rvpo.compare.neglect import Scale, counts, of_columns
from rvpo.report.held_out import HeldOutScores

NAN = float("nan")


def evaluation(values: list[list[list[float]]]) -> HeldOutScores:
    """Of [prompts][samples][rewards]; each reward is an aspect of its own."""
    array = np.array(values, dtype=np.float64)
    names = tuple("abc"[: array.shape[2]])
    present = np.isfinite(array)
    with np.errstate(invalid="ignore"):
        means = np.where(present, array, 0).sum(axis=1) / present.sum(axis=1)
    return HeldOutScores(
        reward_names=names,
        prompt_ids=tuple(str(n) for n in range(len(array))),
        means=means,
        failed=np.zeros(len(names)),
        columns=names,
        values=array,
    )


def whole(found: HeldOutScores, metric: str, *others: HeldOutScores) -> float:
    scale = Scale.of([found, *others])
    return float(counts(found, scale)[metric].value(np.ones((1, len(found.prompt_ids))))[0])


# Two prompts with two responses each, two rewards: easy, and rare.
ONE = evaluation([[[1.0, 0.0], [0.8, 1.0]], [[0.6, 0.0], [0.0, 0.0]]])


def test_the_worst_reward_is_that_of_each_response() -> None:
    assert whole(ONE, "worst reward") == pytest.approx((0 + 0.8 + 0 + 0) / 4)


def test_a_response_that_satisfies_all_is_counted_by_thresholds() -> None:
    assert whole(ONE, "all satisfied") == 0  # undeclared, .8 is not good enough
    for good, share in ((0.8, 0.25), (0.9, 0)):
        scale = Scale.of([ONE], {"a": good})
        assert float(counts(ONE, scale)["all satisfied"].value(np.ones((1, 2)))[0]) == share


def test_failures_are_looked_for_where_the_mean_is_high() -> None:
    many = evaluation([[[1.0, 0.0]] * 2 + [[1.0, 1.0]] * 2])  # means .5 .5 1 1, 75 % quantile 1
    assert whole(many, "fails though high") == 0
    neglect = evaluation([[[1.0, 1.0, 0.0]] * 3 + [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    assert whole(neglect, "fails though high") == 1


def test_the_gap_is_between_the_means_of_the_rewards() -> None:
    assert whole(ONE, "best − worst") == pytest.approx(2.4 / 4 - 1 / 4)


def test_rewards_of_other_ranges_are_scaled_over_all_runs() -> None:
    small = evaluation([[[-3.0], [0.0]]])
    large = evaluation([[[3.0], [3.0]]])
    assert whole(small, "worst reward", large) == pytest.approx(0.25)


def test_what_nobody_knows_to_be_good_enough_is_left_out() -> None:
    outside = evaluation([[[-3.0, 1.0], [0.0, 1.0]]])
    for satisfied, is_known in (({}, False), ({"a": NAN}, False), ({"a": 0.0}, True)):
        scale = Scale.of([outside], satisfied)
        found = counts(outside, scale)
        assert ("all satisfied" in found, "fails though high" in found) == (is_known, is_known)
        assert {"worst reward", "best − worst"} <= found.keys()


def test_a_reward_without_a_score_says_nothing_against_the_others() -> None:
    gaps = evaluation([[[1.0, NAN], [0.0, NAN]]])
    assert Scale.of([gaps]).is_known
    assert whole(gaps, "all satisfied") == 0.5


def test_missing_scores_are_left_out() -> None:
    gaps = evaluation([[[1.0, NAN], [NAN, NAN]], [[0.0, 1.0], [1.0, 1.0]]])
    assert whole(gaps, "worst reward") == pytest.approx((1 + 0 + 1) / 3)
    assert whole(gaps, "all satisfied") == pytest.approx(2 / 3)


def test_prompts_can_be_drawn_again() -> None:
    scale = Scale.of([ONE], {"a": 0.5})
    draws = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert counts(ONE, scale)["all satisfied"].value(draws).tolist() == [0.5, 0.0]
    assert counts(ONE, scale)["a"].value(draws).tolist() == pytest.approx([0.9, 0.3])


def test_a_reward_that_nobody_ever_meets_is_neglected_and_one_that_all_meet_is_not() -> None:
    never = evaluation([[[1.0, 0.0], [0.0, 0.0]]])
    assert whole(never, "worst reward") == 0
    assert whole(never, "best − worst") == 0.5
    always = evaluation([[[1.0, 1.0], [0.0, 1.0]]])
    assert whole(always, "worst reward") == 0.5


def test_a_draw_without_prompts_of_a_column_has_a_gap_between_the_others() -> None:
    ragged = evaluation([[[1.0, 0.0, NAN]], [[0.0, 0.0, 1.0]]])
    gap = counts(ragged, Scale.of([ragged]))["best − worst"]
    assert gap.value(np.array([[2.0, 0.0]])).tolist() == [1.0]


def test_columns_of_a_reward_have_its_threshold() -> None:
    columns = ("brief", "judged/polite", "judged/clear", "judgement")
    found = of_columns(columns, {"judged": 0.8, "other": 3})
    assert found == {"judged/polite": 0.8, "judged/clear": 0.8}
