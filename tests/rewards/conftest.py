"""Fixtures of the tests of rewards."""

from __future__ import annotations

import pytest

from rvpo.errors import ConfigError
from rvpo.runtime.sandbox.boundary import check_boundary


@pytest.fixture(scope="module")
def isolation() -> None:
    """Skips where the kernel does not isolate programs."""
    try:
        check_boundary()
    except ConfigError as error:
        pytest.skip(str(error))
