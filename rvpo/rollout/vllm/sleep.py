"""An engine that gives its GPU memory away between rollouts."""

from __future__ import annotations

from typing import Any, Final, Literal

Part = Literal["weights", "kv_cache"]
_PARTS: Final[tuple[Part, ...]] = ("weights", "kv_cache")


class Sleep:
    """Sleep of a vLLM engine, part by part. The parts wake one by one, so that new weights can come
    while the cache still takes no room; vLLM keeps the old ones in the machine's own memory.

    Args:
        llm: a vLLM `LLM`.
        ever: False where it never sleeps.
    """

    def __init__(self, llm: Any, *, ever: bool) -> None:
        self._llm = llm
        self._ever = ever
        self._asleep: set[Part] = set()

    def begin(self) -> None:
        """Put everything to sleep."""
        if self._ever:
            self._llm.sleep(level=1)
            self._asleep = set(_PARTS)

    def end(self, *parts: Part) -> None:
        """Wake these parts, as far as they are asleep."""
        for part in parts:
            if part in self._asleep:
                self._llm.wake_up(tags=[part])
                self._asleep.discard(part)
