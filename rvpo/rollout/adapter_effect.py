"""The effect of an adapter on an engine's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rvpo.errors import EngineError


@dataclass
class Effect:
    """The look at an engine's answers with the first adapter that is to change them. Engines bind
    matrices to layers by their names, and leave out without a word what they find no layer for."""

    expected: bool = False
    """The engine has an adapter whose B is not 0."""
    seen: bool = False

    def check(
        self, adapted: Callable[[], Sequence[float]], plain: Callable[[], Sequence[float]]
    ) -> None:
        """Compare the log-probabilities of the same tokens, once.

        Args:
            adapted: asks for them with the adapter.
            plain: asks for them without.

        Raises:
            EngineError: they are equal to the bit.
        """
        if not self.expected or self.seen:
            return
        if list(adapted()) == list(plain()):
            raise EngineError(
                "the engine answers the same with the adapter and without it: it applies none of "
                "the adapter's matrices, and samples of the initial model would be trained on; "
                "write model.lora.sync=merged, by which engines get whole weights"
            )
        self.seen = True
