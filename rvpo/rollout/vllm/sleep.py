"""An engine that gives its GPU memory away between rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from rvpo.errors import EngineError
from rvpo.rollout.vllm.transports import WeightSender

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights

Part = Literal["weights", "kv_cache"]
_PARTS: Final[tuple[Part, ...]] = ("weights", "kv_cache")
_KEEP: Final = 1
"""vLLM's level of sleep in which it copies the weights to the machine's own memory and back."""
_FORGET: Final = 2
"""The one in which they are gone. To gather them anew takes as long as the copy, and no room."""


class Sleep:
    """Sleep of a vLLM engine, in which it forgets its weights; it begins with one. The parts wake
    one by one, so that weights come while the cache still takes no room. Where a second rollout has
    the same weights as the one before it, they are sent again.

    Args:
        llm: a vLLM `LLM` that has just started.
        sender: the way of weights into it.
        ever: False where it never sleeps.
        keeps: it keeps in the machine's own memory what it would forget, because not all of that
            is sent: the model that an adapter is of, and the tables by which vLLM finds an
            adapter's rows, which are no weights and would come back as anything.
    """

    def __init__(self, llm: Any, sender: WeightSender, *, ever: bool, keeps: bool = False) -> None:
        self._llm = llm
        self._sender = sender
        self._ever = ever
        self._level = _KEEP if keeps else _FORGET
        self._asleep: set[Part] = set()
        self._weights: Weights | None = None
        self.begin()

    def begin(self) -> None:
        """Put everything to sleep."""
        if self._ever:
            self._llm.sleep(level=self._level)
            self._asleep = set(_PARTS)

    def receive(self, weights: Weights) -> None:
        """Replace all weights; the cache sleeps on, if it does.

        Raises:
            EngineError: the engine failed.
        """
        self._wake("weights")
        self._sender.send(weights)
        self._weights = weights

    def end(self) -> None:
        """Wake everything, with the weights that were received last.

        Raises:
            EngineError: none were.
        """
        if self._weights is None:
            raise EngineError("vLLM was asked to generate before it was given weights")
        if "weights" in self._asleep and self._level == _FORGET:
            self.receive(self._weights)
        self._wake("weights")
        self._wake("kv_cache")

    def _wake(self, part: Part) -> None:
        if part in self._asleep:
            self._llm.wake_up(tags=[part])
            self._asleep.discard(part)
