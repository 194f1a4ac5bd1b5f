"""Denied questions, and what they say about the endpoint that denies them."""

from __future__ import annotations

from typing import Final

from rvpo.judge.worker.refusal import Failure

MOST_IN_A_ROW: Final = 200
"""Denials without an answer between them that no moderation of single questions explains."""

FEW: Final = 3
"""Different calls that an endpoint which never answered must deny before it is given up: one may
be a question that is denied anywhere."""


class Denials:
    """Tells an endpoint that can answer nothing from one that does not answer some questions.

    A wrong key, an empty account and an unknown model are denied with the same statuses (401 to
    404) by which a gateway denies single questions. The difference is whether anything is answered.
    """

    def __init__(self) -> None:
        self.answered = False
        """True where any question ever was."""
        self._in_a_row = 0
        self._different: set[int] = set()
        self._last: Failure | None = None

    @property
    def suspects(self) -> bool:
        """True where nothing but denials came so far: then one call at a time can tell more."""
        return self._last is not None and not self.answered

    def answer(self) -> None:
        """A question was answered."""
        self.answered = True
        self._in_a_row = 0
        self._last = None

    def deny(self, failure: Failure, call: bytes) -> None:
        """A question was denied, asked by this call."""
        self._in_a_row += 1
        if not self.answered:
            self._different.add(hash(call))
        self._last = failure

    def conclude(self, in_flight: int) -> Failure | None:
        """Reason that the endpoint will never answer; None as long as it may.

        Args:
            in_flight: calls that have not come back.
        """
        hopeless = self.suspects and not in_flight and len(self._different) >= FEW
        return self._last if hopeless or self._in_a_row >= MOST_IN_A_ROW else None
