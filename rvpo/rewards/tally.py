"""Counts of what judging took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from rvpo.judge.types import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over answers. Tallies of several rewards or ranks add up."""

    verdicts: int = 0
    cached: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    hedges: int = 0
    parse_failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0  # dollars
    latencies: tuple[float, ...] = ()  # seconds, of answers that were asked for
    failures: Mapping[str, int] = field(default_factory=dict)
    """Answers lost, by reason."""
    attempt_failures: Mapping[str, int] = field(default_factory=dict)
    """Attempts lost, by reason, whether or not a later one succeeded."""
    details: Mapping[str, str] = field(default_factory=dict)
    """The server's words to one of the answers lost, by reason, where it said anything."""
    other_model: int = 0
    """Verdicts of a model that was not asked for, or that answered not at first."""
    news: tuple[str, ...] = ()
    """Sentences about endpoints, each once."""

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Tally:
        """Count the answers of one reward."""
        found = list(answers)
        usages = [answer.usage for answer in found]
        details: dict[str, str] = {}
        for answer in found:
            if answer.failure is not None and answer.detail:
                details.setdefault(answer.failure, answer.detail)
        attempts: Counter[str] = Counter()
        for usage in usages:
            attempts.update(usage.attempt_failures)
        return cls(
            verdicts=len(found),
            cached=sum(usage.cached for usage in usages),
            failed=sum(answer.value is None for answer in found),
            requests=sum(usage.requests for usage in usages),
            retries=sum(usage.retries for usage in usages),
            hedges=sum(usage.hedges for usage in usages),
            parse_failures=sum(usage.parse_failures for usage in usages),
            input_tokens=sum(usage.input_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
            cost=sum(usage.cost for usage in usages),
            latencies=tuple(usage.latency_s for usage in usages if usage.requests),
            failures=Counter(answer.failure for answer in found if answer.failure is not None),
            attempt_failures=attempts,
            details=details,
            other_model=sum(usage.other_model for usage in usages),
            news=tuple(dict.fromkeys(text for answer in found for text in answer.news)),
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            verdicts=self.verdicts + other.verdicts,
            cached=self.cached + other.cached,
            failed=self.failed + other.failed,
            requests=self.requests + other.requests,
            retries=self.retries + other.retries,
            hedges=self.hedges + other.hedges,
            parse_failures=self.parse_failures + other.parse_failures,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=self.cost + other.cost,
            latencies=self.latencies + other.latencies,
            failures=Counter(self.failures) + Counter(other.failures),
            attempt_failures=Counter(self.attempt_failures) + Counter(other.attempt_failures),
            details={**other.details, **self.details},
            other_model=self.other_model + other.other_model,
            news=tuple(dict.fromkeys((*self.news, *other.news))),
        )

    def metrics(self, prefix: str) -> dict[str, float]:
        """The counts under `{prefix}/`, with shares and percentiles; nothing without verdicts."""
        if not self.verdicts:
            return {}
        counts = {
            "verdicts": self.verdicts,
            "requests": self.requests,
            "retries": self.retries,
            "hedges": self.hedges,
            "parse_failures": self.parse_failures,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost,
            "cached_frac": self.cached / self.verdicts,
            "failed_frac": self.failed / self.verdicts,
        }
        if self.other_model:
            counts["other_model"] = self.other_model
        if self.latencies:
            counts["latency_p50_s"] = float(np.percentile(self.latencies, 50))
            counts["latency_p95_s"] = float(np.percentile(self.latencies, 95))
        for kind, reasons in (
            ("failures", self.failures),
            ("attempt_failures", self.attempt_failures),
        ):
            counts |= {f"{kind}/{_slug(reason)}": count for reason, count in reasons.items()}
        return {f"{prefix}/{name}": value for name, value in counts.items()}


def _slug(reason: str) -> str:
    """A reason as part of a metric's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", reason).strip("_").lower()
