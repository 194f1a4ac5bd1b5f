"""What several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvpo.trainer.ranks import Ranks
from tests.tiny import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def ranks() -> Ranks:
    """This process as the only rank; the group ends with the process, as engines in it do."""
    return Ranks.join()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Engines last: one that ends in this process may take the process group of others along."""
    items.sort(key=lambda item: item.path.name == "test_engines.py")
