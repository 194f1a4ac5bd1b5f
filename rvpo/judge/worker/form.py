"""The form of an endpoint's calls: with a schema for the reply, or plain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FEW: Final = 3
"""Refusals of calls with a schema after which one without is tried."""
MANY: Final = 20
"""Questions in a row whose schema is refused, after which an endpoint that took schemas takes none
any more."""


@dataclass(frozen=True, slots=True)
class Try:
    """Form of one call."""

    with_schema: bool
    decides: bool = False
    """True where its end tells if it is the schema that is refused."""


class Form:
    """Finds out why calls with a schema are refused, where the refusals do not say so.

    A server that does not know `response_format` may refuse it with any status and without a word,
    which looks like a bad minute, or like a denied question. So as long as no call with a schema
    was ever answered, one without is tried; where that is answered, one more with a schema decides:
    refused again, it is the schema. What was accepted before has to be refused many times.
    """

    def __init__(self) -> None:
        self.plain = False
        """Schemas are refused, and plain questions answered."""
        self.waits = False
        """Denied questions wait for the outcome of a trial."""
        self.is_named = False
        """A refusal spoke of the schema."""
        self._accepted = False
        self._contradictions = 0  # questions refused with a schema and answered without
        self._refusals = 0
        self._answered_plainly = False
        self._failed_plainly = False
        self._trying = False

    def begin(self) -> Try:
        """Form of the next call. Its `end` must follow."""
        if self.plain:
            return Try(False)
        if self._accepted or self._refusals < FEW:
            return Try(True)
        decides = not self._trying
        self._trying = True
        return Try(decides and self._answered_plainly, decides)

    def end(self, tried: Try) -> None:
        """A call is over, however it went."""
        if tried.decides:
            self._trying = False

    def answer(self, tried: Try) -> None:
        """A call was answered."""
        self.waits = False
        if tried.with_schema:
            self._accepted = True
            self._contradictions = 0
            self.plain = False
        elif tried.decides:
            self._answered_plainly = True

    def refuse(self, tried: Try, *, retried: bool) -> bool:
        """A call was refused without a word on why.

        Args:
            retried: True where it would be made again anyway, as what fails for a minute is.

        Returns:
            True where another call, in another form, may be answered.
        """
        if self._accepted:
            return False
        if not tried.with_schema:
            if tried.decides:
                self._refusals, self._failed_plainly, self.waits = 0, True, False
            return False
        if self._answered_plainly:
            self.plain |= tried.decides
            return True
        self._refusals += 1 if retried else FEW
        if retried or self._failed_plainly:
            return False
        self.waits = True
        return True

    def conclude(self) -> None:
        """A question was refused with a schema and answered without, for one reason or by chance.

        One such question decides only where the refusal named the schema. Else another decides.
        """
        self._contradictions += 1
        enough = MANY if self._accepted else 1 if self.is_named else 2
        self.plain |= self._contradictions >= enough
        self._answered_plainly, self._refusals = True, FEW
