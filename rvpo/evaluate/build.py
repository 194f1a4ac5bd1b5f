"""The benchmarks that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.judge import JudgeConfig
from rvpo.evaluate.benchmark import Benchmark
from rvpo.evaluate.bfcl.bfcl import Bfcl
from rvpo.evaluate.gpqa.gpqa import Gpqa
from rvpo.evaluate.healthbench.healthbench import HealthBench
from rvpo.judge.types import Judge


def read_benchmarks(
    config: BenchmarksConfig,
    judge: JudgeConfig | None,
    say: Callable[[str], None],
) -> tuple[Benchmark, ...]:
    """Read what each asks, before any model is loaded.

    Args:
        say: told what is being fetched.

    Raises:
        ConfigError, DataError: a file is missing or is not what it should be.
    """
    found: list[Benchmark] = []
    if config.gpqa is not None:
        found.append(Gpqa.of(config.gpqa))
    if config.healthbench is not None:
        assert judge is not None  # the settings were checked
        found.append(HealthBench.of(config.healthbench, judge))
    if config.bfcl is not None:
        found.append(Bfcl.of(config.bfcl, say))
    return tuple(found)


def needs_judge(config: BenchmarksConfig) -> bool:
    """True where any of them asks a judge."""
    return config.healthbench is not None


def judged_by(benchmarks: Sequence[Benchmark], judge: Judge) -> tuple[Benchmark, ...]:
    """The same benchmarks, with a judge where they ask one."""
    return tuple(
        replace(each, judge=judge) if isinstance(each, HealthBench) else each for each in benchmarks
    )
