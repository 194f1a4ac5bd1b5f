"""Weights on their way from the thread that gathers them to the one that sends them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from torch import Tensor

from rvpo.rollout.servers.weights.buckets import Layout

NamedWeight = tuple[str, Tensor]


class SendingEnded(Exception):
    """The sending of weights was ended while one was waited for."""


class Feed:
    """One weight at a time, handed from one thread to another.

    The thread that gathers meets the other ranks in doing so, and must not stop before them: once
    the sending has ended, well or not, it walks on and what it gathers is dropped.

    Args:
        layout: names, types and shapes of the weights to come.
        silence_s: seconds after which a sender that takes nothing is given up.
    """

    def __init__(self, layout: Layout, silence_s: float) -> None:
        self.layout = layout
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._slot: NamedWeight | None = None
        self._all_given = False
        self._is_finished = False
        self._error: BaseException | None = None

    def finish(self, error: BaseException | None) -> None:
        """Take in that the sending has ended: nothing more is handed over. From any thread, the
        first time counts.

        Args:
            error: the reason that not all was sent; None where it was.
        """
        with self._changed:
            if not self._is_finished:
                self._is_finished, self._error, self._slot = True, error, None
            self._changed.notify_all()

    def give(self, weights: Iterable[NamedWeight]) -> None:
        """Walk through all weights and hand each over, as long as they are taken."""
        try:
            for pair in weights:
                self._put(pair)
        except BaseException as error:
            self.finish(error)
            raise
        with self._changed:
            self._all_given = True
            self._changed.notify_all()

    def outcome(self, seconds: float) -> BaseException | None:
        """Reason that not all was sent; None where it was.

        Args:
            seconds: those that the sending has to end, once all is given.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_finished, seconds):
                return TimeoutError(f"all weights were sent, and nothing came for {seconds:.0f} s")
            return self._error

    def __iter__(self) -> Iterator[NamedWeight]:
        """The weights as they come.

        Raises:
            SendingEnded: it was, meanwhile.
        """
        while (pair := self._take()) is not None:
            yield pair

    def _put(self, pair: NamedWeight) -> None:
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._slot is None or self._is_finished, self._silence_s
            )
            if not free:
                self.finish(TimeoutError(f"no server took a weight for {self._silence_s:.0f} s"))
            if not self._is_finished:
                self._slot = pair
            self._changed.notify_all()

    def _take(self) -> NamedWeight | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._slot is not None or self._all_given or self._is_finished
            )
            if self._is_finished:
                raise SendingEnded
            pair, self._slot = self._slot, None
            self._changed.notify_all()
            return pair
