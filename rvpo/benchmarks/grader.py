"""The judge of a benchmark, as far as a benchmark knows it: it answers questions about a response.

Benchmarks know nothing of endpoints, workers or settings of a judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rvpo.types import Message


class GraderAnswer(Protocol):
    """An answer to one question."""

    @property
    def value(self) -> float | None:
        """1 for yes and 0 for no; None where it is not known."""
        ...

    @property
    def reason(self) -> str:
        """In the judge's words; empty where it gave none."""
        ...

    @property
    def failure(self) -> str | None:
        """Reason that there is no value."""
        ...

    @property
    def usage(self) -> Any:
        """The requests, input_tokens, output_tokens and cost, in dollars, that it took."""
        ...


Ask = Callable[[Sequence[Message], str, Sequence[str]], Callable[[], Sequence[GraderAnswer]]]
"""Given a conversation, the response to it and a prompt for each question: begins to ask, and
returns what waits for the answers, in the order of the questions."""


@dataclass(frozen=True)
class Grader:
    """A judge that can be asked."""

    identity: Mapping[str, Any]
    """All that its answers depend on, JSON-ready; part of what a score is."""
    ask: Ask = field(repr=False)
