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
    """The summary with pass@k and maj@k, where they are wanted, over the questions of which k
    answers have a grade."""
    config = benchmark.config
    if not isinstance(config, RepeatedSection) or not config.at_k:
        return summary
    votes: dict[str, list[Vote]] = {}
    for each in (benchmark.vote(row) for row in rows if not benchmark.ungraded(row)):
        votes.setdefault(each.question, []).append(each)
    found = dict(summary.scores)
    for k in config.at_k:
        asked = {question: own for question, own in votes.items() if len(own) >= k}
        passes = [pass_at_k(len(v), sum(each.is_right for each in v), k) for v in asked.values()]
        wins = [
            majority_at_k([each.answer for each in v], [each.is_right for each in v], k)
            for v in asked.values()
        ]
        for name, values in (("pass", passes), ("maj", wins)):
            found[f"{name}@{k}"] = Score(
                value=sum(values) / len(values) if values else None,
                count=len(values),
                interval=mean_interval(values, list(asked)) if values else None,
            )
    return replace(summary, scores=found)
