"""The closing test compares the same prompts, and claims nothing that it cannot know."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rvpo.report.held_out import (
    HeldOutScores,
    RewardChange,
    compare,
    comparisons_json,
    render_table,
)
from tests.fakes import make_scores


def scores(
    *columns: list[float], names: tuple[str, ...] = ("correct",), failed: float = 0.0
) -> HeldOutScores:
    means = np.array(columns, dtype=np.float64).T
    ids = tuple(str(p) for p in range(len(means)))
    lost = np.full(len(columns), failed)
    return HeldOutScores(
        reward_names=names,
        prompt_ids=ids,
        means=means,
        failed=lost,
        columns=names,
        values=means[:, None, :],
    )


def compare_one(before: list[float], after: list[float]) -> RewardChange:
    return compare(scores(before), scores(after))[0]


def test_a_prompts_score_is_the_mean_of_its_samples_that_have_one():
    scored = make_scores([[1.0, 0.2], [0.0, None], [1.0, None], [1.0, None]])
    means = HeldOutScores.of(scored, ["p", "q"]).means
    np.testing.assert_allclose(means, [[0.5, 0.2], [1.0, np.nan]], rtol=1e-6)


def test_scores_need_one_group_for_each_prompt():
    with pytest.raises(ValueError, match="2 groups, for 1 prompts"):
        HeldOutScores.of(make_scores([[1.0, 0.0]] * 4), ["p"])


def test_scores_survive_json_with_their_gaps():
    before = scores([0.5, np.nan], [1.0, 0.0], names=("a", "b"), failed=0.25)
    after = HeldOutScores.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    assert (after.reward_names, after.prompt_ids) == (before.reward_names, before.prompt_ids)
    np.testing.assert_array_equal(after.means, before.means)
    np.testing.assert_array_equal(after.failed, before.failed)


def test_scores_that_failed_count_as_missing_and_those_that_do_not_apply_do_not():
    scored = make_scores(
        [[1.0, 0.2], [None, None], [1.0, None], [1.0, None]], failures={(1, 0): "timeout"}
    )
    assert HeldOutScores.of(scored, ["p", "q"]).failed.tolist() == [0.25, 0.0]


def test_few_prompts_are_tested_exactly():
    """Of the 2^5 sign patterns only the observed one and its mirror reach this mean."""
    row = compare_one([0.0] * 5, [0.5, 0.6, 0.7, 0.8, 0.9])
    assert row.p_value == pytest.approx(2 / 32)
    assert row.difference == pytest.approx(0.7)


def test_a_clear_rise_over_many_prompts_is_significant():
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 0.5, 100)
    row = compare_one(before.tolist(), (before + rng.uniform(0, 0.4, 100)).tolist())
    assert row.p_value is not None
    assert row.p_value < 0.001
    assert row.interval is not None
    low, high = row.interval
    assert 0 < low < row.difference < high


def test_the_interval_holds_the_middle_95_percent_of_the_resampled_means():
    """Over 100 prompts they are normal, around the mean and with its standard error."""
    normal = NormalDist()
    differences = [normal.inv_cdf((i + 0.5) / 100) for i in range(100)]
    before, after = scores([0.0] * 100), scores(differences)
    intervals = [compare(before, after, seed)[0].interval for seed in range(5)]
    half = normal.inv_cdf(0.975) * np.std(differences) / 10
    # A level of 94 or 96 % would be 4 % off.
    assert np.mean(intervals, axis=0) == pytest.approx([-half, half], rel=0.02)


def test_noise_is_significant_no_more_often_than_the_level():
    rng = np.random.default_rng(1)
    p = [compare_one([0.0] * 10, rng.normal(size=10).tolist()).p_value for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_no_difference_anywhere_is_p_1():
    row = compare_one([0.25, 0.5, 1.0], [0.25, 0.5, 1.0])
    assert (row.p_value, row.difference, row.interval) == (1.0, 0.0, (0.0, 0.0))


def test_one_prompt_shows_nothing():
    row = compare_one([0.0], [1.0])
    assert (row.p_value, row.interval, row.difference) == (1.0, None, 1.0)


def test_a_prompt_without_a_score_on_one_side_is_left_out_of_both_means():
    row = compare_one([0.0, 0.5, np.nan], [1.0, np.nan, 1.0])
    assert (row.prompts, row.before, row.after) == (1, 0.0, 1.0)


def test_a_reward_scored_on_no_prompt_twice_has_no_numbers():
    row = compare_one([np.nan, 1.0], [1.0, np.nan])
    assert (row.prompts, row.before, row.p_value, row.interval) == (0, None, None, None)
    assert "-" in shown([row])


def test_different_prompts_do_not_compare():
    with pytest.raises(ValueError, match="same prompts"):
        compare(scores([1.0]), scores([1.0, 2.0]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_swapping_before_and_after_mirrors_the_comparison(pairs):
    before, after = ([pair[i] / 4 for pair in pairs] for i in (0, 1))
    there, back = compare_one(before, after), compare_one(after, before)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_value == pytest.approx(back.p_value)


def test_the_same_seed_gives_the_same_numbers():
    rng = np.random.default_rng(2)
    before, after = scores(rng.uniform(size=30).tolist()), scores(rng.uniform(size=30).tolist())
    assert compare(before, after, seed=7) == compare(before, after, seed=7)


def test_the_table_names_its_test_and_its_interval():
    table = shown([compare_one([0.0] * 5, [0.5, 0.6, 0.7, 0.8, 0.9])])
    assert "sign-flip permutation test" in table
    assert "95 % percentile bootstrap" in table
    assert "95 % interval" in table
    assert "0.000" in table
    assert "+0.700" in table


def test_missing_scores_have_a_column_where_there_are_any():
    (row,) = compare(scores([0.0], failed=0.125), scores([1.0]))
    table = shown([row])
    assert "prompts missing" in table
    assert "12.5% 0.0%" in table
    assert "Missing: share of scores that are not there" in table
    assert "issing" not in shown([compare_one([0.0], [1.0])])


@pytest.mark.parametrize("failed", [0.0, 0.125])
def test_no_name_loses_a_letter_in_80_columns(failed: float):
    name = "rubric/context_awareness_and_instruction_following"
    (row,) = compare(
        scores([0.1, -0.5], names=(name,), failed=failed), scores([-0.2, 0.3], names=(name,))
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(render_table([row]))
    left = "".join(line.partition(" ")[0] for line in capture.get().splitlines()[2:])
    assert left.startswith(name)
    assert "…" not in capture.get()


def test_the_comparison_is_json_with_its_test_named():
    value = comparisons_json([compare_one([0.0], [1.0])])
    assert "sign-flip permutation test" in value["test"]
    assert json.loads(json.dumps(value, allow_nan=False))["rewards"]["correct"]["after"] == 1.0


def shown(rows: list[RewardChange]) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(render_table(rows))
    return " ".join(capture.get().split())
