"""The progress of one sheet on its way to verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rvpo.judge.types import Answer, Usage
from rvpo.judge.worker.bill import Bill
from rvpo.judge.worker.endpoint import Endpoint
from rvpo.judge.worker.refusal import Failure
from rvpo.judge.worker.request import Request, Sheet

Ruling = tuple[float, str] | Failure
"""The (value, reason) of a question in a reply, or the reason that it has none."""


@dataclass(slots=True, eq=False)
class Inquiry:
    """Progress of one sheet.

    Args:
        spent: usage of each question in larger sheets before; nothing for a first sheet.
    """

    sheet: Sheet
    started: float
    deadline: float
    attempts: int = 0
    spent: dict[bytes, Usage] = field(default_factory=dict)
    news: tuple[str, ...] = ()
    resamples: int = 0
    plain: bool = False  # asks without the schema from now on
    refused_by: Endpoint | None = None  # that did not take the schema
    denied_by: set[Endpoint] = field(default_factory=set)
    is_again: bool = False  # its questions were asked before
    sent: int = 0
    hedges: int = 0
    parse_failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    model: str = ""  # of the last reply
    is_other: bool = False

    def smaller(self, sheet: Sheet, answers: Mapping[bytes, Answer]) -> Inquiry:
        """The same for some of its questions, with what they took so far.

        Args:
            answers: the last ones to these questions, by key.
        """
        spent = {request.key: answers[request.key].usage for request in sheet.requests}
        return Inquiry(
            sheet,
            self.started,
            self.deadline,
            attempts=self.attempts,
            spent=spent,
            news=self.take_news(),
            is_again=True,
        )

    def take_news(self) -> tuple[str, ...]:
        """Sentences about endpoints that no answer has told yet, each handed out once."""
        news, self.news = self.news, ()
        return news

    def take(self, bill: Bill) -> None:
        """Count what a call took."""
        self.input_tokens += bill.input_tokens
        self.output_tokens += bill.output_tokens
        self.cost += bill.cost

    def note(self, verdicts: Mapping[bytes, Ruling]) -> None:
        """Count the verdicts that a reply lacks which has others."""
        for key, verdict in verdicts.items():
            if isinstance(verdict, Failure):
                lost = Usage(parse_failures=1, attempt_failures={verdict.reason: 1})
                self.spent[key] = self.spent.get(key, Usage()) + lost

    def answers(self, verdicts: Mapping[bytes, Ruling], now: float) -> dict[bytes, Answer]:
        """The answer to each question, by key, with its own part of what the sheet took."""
        shares = self._usage(now).shares(len(self.sheet.requests))
        return {
            request.key: self._answer(verdicts[request.key], self._total(request, share))
            for request, share in zip(self.sheet.requests, shares, strict=True)
        }

    def _answer(self, verdict: Ruling, usage: Usage) -> Answer:
        if isinstance(verdict, Failure):
            return Answer(value=None, failure=verdict.reason, detail=verdict.detail, usage=usage)
        value, reason = verdict
        return Answer(value=value, reason=reason, model=self.model, usage=usage)

    def _total(self, request: Request, share: Usage) -> Usage:
        before = self.spent.get(request.key)
        return share if before is None else before + share

    def _usage(self, now: float) -> Usage:
        return Usage(
            requests=self.sent,
            retries=self.sent - self.hedges - (not self.is_again),
            hedges=self.hedges,
            parse_failures=self.parse_failures,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            latency_s=now - self.started,
            attempt_failures=dict(self.failures),
            other_model=self.is_other,
        )
