"""What docs/rvpo.md and docs/choose.md say is what the code computes."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from docs.compute import HERE, PAGES, equal, fill, signed
from rvpo.advantage.aggregate import mean_and_variance
from rvpo.advantage.rvpo import soft_min, soft_min_weights, taylor_bound

NUMBER = re.compile(r"[+-]?\d+\.\d+")


@pytest.mark.parametrize("name", PAGES)
def test_its_tables_are_up_to_date(name: str) -> None:
    """To one unit of the last digit, on which side of a half processors differ."""
    page = (HERE / name).read_text(encoding="utf-8")
    computed = fill(page, PAGES[name])
    assert NUMBER.sub("#", computed) == NUMBER.sub("#", page)
    for ours, published in zip(NUMBER.findall(computed), NUMBER.findall(page), strict=True):
        unit = 10.0 ** -len(published.partition(".")[2])
        assert float(ours) == pytest.approx(float(published), abs=1.01 * unit)
    assert page.count("| --- |") >= len(PAGES[name])


@pytest.mark.parametrize("value", [0.0, -0.0, 0.004, -0.004])
def test_what_rounds_to_zero_has_no_sign(value: float) -> None:
    assert signed(value) == "0.00"


@given(
    st.lists(st.floats(-4, 4), min_size=2, max_size=17),
    st.floats(0.01, 10),
    st.integers(0, 2**16),
)
def test_the_error_never_exceeds_the_bound(z: list[float], k: float, seed: int) -> None:
    row = torch.tensor([z], dtype=torch.float64)
    weights = torch.rand(row.shape, generator=torch.Generator().manual_seed(seed)).double() + 0.01
    for p in (equal(row), weights / weights.sum()):
        mean, variance = mean_and_variance(row, p)
        error = (soft_min(row, p, k) - (mean - k / 2 * variance)).abs()
        assert error.item() <= taylor_bound(row, p, k).item() + 1e-9


def test_the_bound_is_nearly_reached() -> None:
    """By two values whose shares are those of the largest third cumulant."""
    p = torch.tensor([[(3 + math.sqrt(3)) / 6, (3 - math.sqrt(3)) / 6]], dtype=torch.float64)
    z, k = torch.tensor([[0.0, 1.0]], dtype=torch.float64), 1e-3
    mean, variance = mean_and_variance(z, p)
    error = (soft_min(z, p, k) - (mean - k / 2 * variance)).abs()
    assert error.item() == pytest.approx(taylor_bound(z, p, k).item(), rel=1e-3)


def test_twice_the_weight_is_at_the_distance_that_the_page_names() -> None:
    z = torch.tensor([[0.0, 0.7]], dtype=torch.float64)
    lower, upper = soft_min_weights(z, equal(z), 1.0)[0].tolist()
    assert lower / upper == pytest.approx(2, abs=0.02)
