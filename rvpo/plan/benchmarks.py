"""Benchmarks that a run evaluates, read as the run reads them."""

from __future__ import annotations

from rvpo.benchmarks.benchmark import Benchmark
from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.errors import RvpoError
from rvpo.evaluate.measure import check_lengths
from rvpo.model_files import resolve_model
from rvpo.plan.machine import Finding
from rvpo.rollout.encoder import Encoder
from rvpo.schedule import is_due


def benchmark_findings(config: RunConfig) -> list[Finding]:
    """One for each benchmark: what is missing, or how much it asks."""
    findings: list[Finding] = []
    encoder = _encoder(config) if config.evaluate.benchmarks.chosen() else None
    for name, section in config.evaluate.benchmarks.chosen().items():
        part = f"evaluate.benchmarks.{name}"
        try:
            benchmark = section.read(lambda words: None)
            if encoder is not None:
                check_lengths(benchmark, encoder, "evaluate.benchmarks")
        except RvpoError as error:
            findings.append(Finding(part, "missing", str(error)))
        else:
            findings.append(Finding(part, "ok", _asked(config, benchmark)))
    return findings


def _encoder(config: RunConfig) -> Encoder | None:
    """The model's, None where it cannot be read, which is told elsewhere."""
    try:
        return encoder_of(config.model, config.rollout, resolve_model(config.model.path))
    except RvpoError:
        return None


def _asked(config: RunConfig, benchmark: Benchmark) -> str:
    steps = range(config.steps + 1)
    times = sum(is_due(step, config.evaluate.every, config.steps) for step in steps)
    text = f"{len(benchmark.prompts):,} answers at each of {times:,} evaluations"
    if benchmark.judge_questions:
        text += f", with {benchmark.judge_questions:,} questions to the judge"
    return text
