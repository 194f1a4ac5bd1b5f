"""The share of a step's episodes that may have no score."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import RewardError
from rvpo.rewards.budget import check_episodes


@given(lost=st.integers(0, 40), others=st.integers(0, 40), budget=st.integers(0, 10))
def test_a_step_goes_on_up_to_its_budget_and_not_beyond(
    lost: int, others: int, budget: int
) -> None:
    missing = ["world_broken: gone"] * lost + [""] * others
    if 10 * lost > budget * (lost + others):
        with pytest.raises(RewardError, match=f"environment: {lost} of {lost + others} episodes"):
            check_episodes(budget / 10, missing)
    else:
        check_episodes(budget / 10, missing)


def test_the_most_frequent_reasons_are_told_first() -> None:
    reasons = ["tool_failed: slow", *["world_broken: gone"] * 3, ""]
    with pytest.raises(RewardError, match=r"\(3 world_broken: gone, 1 tool_failed: slow\)"):
        check_episodes(0.5, reasons)
