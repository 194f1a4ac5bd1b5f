"""A listener for those who need none."""

from __future__ import annotations


def ignore(*told: object) -> None:
    """Do nothing with what is told."""
