"""Data sets that bring rubrics: each format one file, each its own section of the settings.

A new one is a file with a subclass of `RubricSource` that has a `format`, and its class in
`RubricFormat` below.
"""

from __future__ import annotations

from rvpo.rubrics.healthbench import HealthBenchSource
from rvpo.rubrics.rar import RarSource
from rvpo.rubrics.source import RubricSource

RubricFormat = RarSource | HealthBenchSource
"""The sources that the `format` beside `rubrics` may choose."""

__all__ = ["HealthBenchSource", "RarSource", "RubricFormat", "RubricSource"]
