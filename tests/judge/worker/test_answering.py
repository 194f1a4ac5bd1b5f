"""Which names are those of one model."""

from __future__ import annotations

import pytest

from rvpo.judge.worker.answering import is_version


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("small-x", "small-x"),
        ("small-x", "Small-X-2026-01-01"),
        ("small-x", "small-x-0613"),
        ("maker/small-x", "small-x-20260101"),
        ("small-x", "maker/small-x:latest"),
        ("small-x-latest", "small-x-20260101"),
        ("small-x", "small-x-20260101-v1:0"),
    ],
)
def test_a_version_is_the_model(asked: str, name: str) -> None:
    assert is_version(name, asked)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("small-4", "small-4-mini"),
        ("small-4", "small-4.5"),
        ("small-4", "small-4-7b"),
        ("small-4-2026-01-01", "small-4"),
        ("small-4-2026-01-01", "small-4-2026-02-01"),
        ("small", "large"),
        ("small", ""),
    ],
)
def test_another_model_is_not(asked: str, name: str) -> None:
    assert not is_version(name, asked)
