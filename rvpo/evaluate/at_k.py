"""Success of a benchmark with k answers to each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rvpo.benchmarks.benchmark import (
    Benchmark,
    BenchmarkSummary,
    RepeatedSection,
    Row,
    Score,
    Vote,
)
from rvpo.benchmarks.statistics import mean_interval
from rvpo.report.at_k import majority_at_k, pass_at_k


def with_k(
    benchmark: Benchmark, summary: BenchmarkSummary, rows: Sequence[Row]
) -> BenchmarkSummary:
    """The summary with pass@k and maj@k over questions, where they are wanted."""
    config = benchmark.config
    if not isinstance(config, RepeatedSection) or not config.at_k:
        return summary
    votes: dict[str, list[Vote]] = {}
    for each in map(benchmark.vote, rows):
        votes.setdefault(each.question, []).append(each)
    found = dict(summary.scores)
    for k in config.at_k:
        passes = [pass_at_k(len(v), sum(each.is_right for each in v), k) for v in votes.values()]
        wins = [
            majority_at_k([each.answer for each in v], [each.is_right for each in v], k)
            for v in votes.values()
        ]
        for name, values in (("pass", passes), ("maj", wins)):
            found[f"{name}@{k}"] = Score(
                value=sum(values) / len(values),
                count=len(values),
                interval=mean_interval(values, list(votes)),
            )
    return replace(summary, scores=found)
