"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rvpo.trainer.ranks import Ranks
from tests.tiny import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """This process as the only rank; the group lasts for all tests."""
    yield (joined := Ranks.join())
    joined.leave()
