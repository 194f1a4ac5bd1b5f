"""Benchmarks that a run evaluates, read as the run reads them."""

from __future__ import annotations

from rvpo.config.run import RunConfig
from rvpo.errors import RvpoError
from rvpo.evaluate.benchmark import Benchmark
from rvpo.evaluate.build import read_benchmarks
from rvpo.evaluate.healthbench.healthbench import HealthBench
from rvpo.plan.machine import Finding
from rvpo.schedule import is_due


def benchmark_findings(config: RunConfig) -> list[Finding]:
    """One for each benchmark: what is missing, or how much it asks."""
    every = config.evaluate.benchmarks
    findings = []
    for name in every.chosen():
        alone = every.model_copy(update={other: None for other in every.chosen() if other != name})
        part = f"evaluate.benchmarks.{name}"
        try:
            (benchmark,) = read_benchmarks(alone, config.judge, lambda words: None)
        except RvpoError as error:
            findings.append(Finding(part, "missing", str(error)))
        else:
            findings.append(Finding(part, "ok", _asked(config, benchmark)))
    return findings


def _asked(config: RunConfig, benchmark: Benchmark) -> str:
    steps = range(config.steps + 1)
    times = sum(is_due(step, config.evaluate.every, config.steps) for step in steps)
    text = f"{len(benchmark.prompts):,} answers at each of {times:,} evaluations"
    if isinstance(benchmark, HealthBench):
        asked = (len(benchmark.records[p.columns["record"]].items) for p in benchmark.prompts)
        text += f", with {sum(asked):,} questions to the judge"
    return text
