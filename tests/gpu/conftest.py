"""One card: skipped where there is none, and its findings kept where there is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from tests.gpu.results import FILE, Results

COMMAND = "python -m pytest -m gpu tests/gpu"


def reason_to_skip(has_gpu: bool, worker: str | None) -> str:
    """Why nothing can be shown here; empty where it can.

    Args:
        worker: name of this process among several that run tests side by side.
    """
    if not has_gpu:
        return "torch can use no GPU here; `rvpo doctor` says why"
    if worker is not None:
        return f"measures the memory of a card, and so has it alone: {COMMAND}"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if reason := reason_to_skip(torch.cuda.is_available(), worker):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """The table, written when all is done, whatever failed."""
    about = torch.cuda.get_device_properties(0)
    size = about.total_memory / 2**30
    found = Results(f"{about.name}, {size:.1f} GiB, CUDA {torch.version.cuda}")
    yield found
    if found:
        found.save()
        print(f"\n{found.text()}\nkept in {FILE}; please send it with an issue or a pull request")
