"""Benchmarks, faithful to their references: each its own section of the settings.

A new one is a file with a subclass of `BenchmarkSection` that has a `name`, and its class in
`AnyBenchmark` below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from rvpo.benchmarks.benchmark import BenchmarkSection
from rvpo.benchmarks.bfcl.bfcl import BfclConfig
from rvpo.benchmarks.gpqa.gpqa import GpqaConfig
from rvpo.benchmarks.healthbench.healthbench import HealthBenchConfig

AnyBenchmark = GpqaConfig | HealthBenchConfig | BfclConfig

BENCHMARKS: Final[Mapping[str, type[BenchmarkSection]]] = {
    each.name: each for each in get_args(AnyBenchmark)
}
"""The benchmarks that `evaluate.benchmarks` and `rvpo evaluate --benchmark` may name."""


def listed() -> str:
    """The names for a sentence: the last one follows an "or"."""
    *others, last = BENCHMARKS
    return f"{', '.join(others)} or {last}"
