"""Rewards of length."""

from __future__ import annotations

import pytest

from rvpo.rewards.length import soft_overlong


def test_the_score_falls_over_the_margin_and_no_further() -> None:
    lengths = (0, 6, 8, 9, 10, 15)
    ids = [[0] * length for length in lengths]
    scores = soft_overlong(ids, longest=10, margin=4)
    assert scores == [0.0, 0.0, -0.5, -0.75, -1.0, -1.0]


@pytest.mark.parametrize("margin", [0, 11])
def test_a_margin_that_cannot_be_is_refused(margin: int) -> None:
    with pytest.raises(ValueError, match="margin must be from 1 to longest=10"):
        soft_overlong([[1]], longest=10, margin=margin)
