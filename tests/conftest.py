"""What several test modules share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported, which reads it once; programs that tests start inherit it. Models and
# tensors are tiny here, and several processes at work: more threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rvpo.runtime.ranks import Ranks
from tests.tiny import save_tiny_model

# The same examples on every machine, and no time limit on a loaded one.
settings.register_profile("rvpo", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("rvpo")

# A shell ignores Ctrl-C in what it runs in the background, nohup a terminal that closes, and
# processes inherit that: tests that send these signals would wait for ever.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def ranks() -> Ranks:
    """This process as the only rank; the group ends with the process, as engines in it do."""
    return Ranks.join()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, so that none is left to a single process at the end. Engines last: one that
    ends in this process may take the process group of others along."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name == "test_engines.py", item.path not in slow))
