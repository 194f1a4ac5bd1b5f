from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.advantage import Ramp

finite = st.floats(-1e6, 1e6)


@given(finite, finite)
def test_ends_are_exact(start: float, end: float) -> None:
    ramp = Ramp(start=start, end=end)
    assert ramp.at(0.0) == start
    assert ramp.at(1.0) == end


def test_half_way_is_the_middle() -> None:
    assert Ramp(start=0.5, end=2.0).at(0.5) == 1.25


@pytest.mark.parametrize("progress", [-0.01, 1.01, math.nan])
def test_progress_outside_training_is_refused(progress: float) -> None:
    with pytest.raises(ValueError, match=r"progress must lie in \[0, 1\], got"):
        Ramp(start=0.0, end=1.0).at(progress)


def test_infinite_end_is_refused() -> None:
    with pytest.raises(ValueError, match="end must be a finite number, got inf"):
        Ramp(start=0.0, end=math.inf)
