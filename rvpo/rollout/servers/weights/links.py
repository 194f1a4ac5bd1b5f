"""The ways of weights from rank 0 to the workers of all servers."""

from __future__ import annotations

from typing import Protocol

from rvpo.rollout.servers.weights.buckets import Layout
from rvpo.rollout.servers.weights.fan_out import FanOut
from rvpo.rollout.servers.weights.feed import Feed


class Sender(Protocol):
    """The open way to a group of servers."""

    def send(self, feed: Feed) -> None:
        """Open an update, send all weights of the feed, and finish it.

        Raises:
            Exception: anything that its library raises, `ServerError` of a server's refusal.
        """
        ...

    def close(self) -> None:
        """Leave the group, so that nobody in it waits for this side any more."""
        ...


class WeightLink(Protocol):
    """A kind of way."""

    def connect(self, fan_out: FanOut, address: str, size: int, layout: Layout) -> Sender:
        """Form a group.

        Args:
            address: this machine's, as the servers reach it.
            size: workers of all servers, and one.
            layout: names, types and shapes of the weights that will be sent.

        Raises:
            Exception: anything that its library raises, `ServerError` of a server's refusal.
        """
        ...
