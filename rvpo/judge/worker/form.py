"""Whether an endpoint takes calls that hold the reply to a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FEW: Final = 3
"""Refusals of calls with a schema after which one without is tried."""


@dataclass(frozen=True, slots=True)
class Try:
    """How one call asks."""

    with_schema: bool
    decides: bool = False
    """Whether its end tells if it is the schema that is refused."""


class Form:
    """Finds out why calls with a schema are refused, where the refusals do not say so.

    A server that does not know `response_format` may refuse it with any status and without a word,
    which looks like a bad minute, or like a denied question. So as long as no call with a schema
    was ever answered, one without is tried; where that is answered, one more with a schema decides:
    refused again, it is the schema.
    """

    def __init__(self) -> None:
        self.plain = False
        """Schemas are refused, and plain questions answered."""
        self.waits = False
        """Denied questions wait for the outcome of a trial."""
        self._accepted = False
        self._refusals = 0
        self._answered_plainly = False
        self._failed_plainly = False
        self._trying = False

    def begin(self) -> Try:
        """How the next call shall ask. Its `end` must follow."""
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
            self.plain = False
        elif tried.decides:
            self._answered_plainly = True

    def refuse(self, tried: Try, *, retried: bool) -> bool:
        """A call was refused without a word on why.

        Args:
            retried: whether it would be made again anyway, as what fails for a minute is.

        Returns:
            Whether another call, in another form, may be answered.
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
        """A refusal said that it is the schema, and the question was answered without."""
        self.plain = True
