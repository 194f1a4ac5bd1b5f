"""The published wheels, which the package index has."""

from __future__ import annotations

import pytest

from rvpo.benchmarks.bfcl.distribution import Wheel, find


@pytest.fixture(scope="session", params=["v3", "v4"])
def wheel(request: pytest.FixtureRequest) -> Wheel:
    return find(request.param)
