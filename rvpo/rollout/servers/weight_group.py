"""Rank 0 and the workers of several servers, as one group that weights are sent to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue

from rvpo.rollout.servers.aside import aside
from rvpo.rollout.servers.buckets import Layout
from rvpo.rollout.servers.fan_out import FanOut, Member, Patience
from rvpo.rollout.servers.feed import Feed, Pair
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.links import Link, Sender


class GroupError(Exception):
    """A group that was not formed, or in which not all weights were sent; with the reason."""


class WeightGroup:
    """One group; when one of its sendings has failed it is of no more use.

    Exchanges with the servers are made in threads of their own, so that no exchange that hangs, and
    no server that does not answer, holds up the thread that gathers.

    Raises:
        GroupError: not all members came.
    """

    def __init__(
        self,
        http: Http,
        link: Link,
        members: Sequence[Member],
        address: str,
        layout: Layout,
        patience: Patience,
    ) -> None:
        self.members = tuple(members)
        self._patience = patience
        self._feed: Feed | None = None
        self._first: SimpleQueue[Sender | BaseException] = SimpleQueue()
        self._fan_out = FanOut(http, members, patience, self._failed)
        size = 1 + sum(member.workers for member in members)
        forming = aside(lambda: link.connect(self._fan_out, address, size, layout))
        forming.add_done_callback(lambda done: self._first.put(done.exception() or done.result()))
        try:
            outcome = self._first.get(timeout=patience.form_s + patience.answer_s)
        except Empty:
            raise GroupError("the group was not formed in time") from None
        if isinstance(outcome, BaseException):
            raise GroupError(_words(outcome)) from outcome
        self._sender: Sender = outcome

    @property
    def unfinished(self) -> tuple[ServerError, ...]:
        """Errors of the members that took all weights of the last sending and failed then."""
        return tuple(self._fan_out.unfinished.values())

    def send(self, layout: Layout, weights: Iterable[Pair], version: int) -> None:
        """Send all weights to all members. It walks through all of them, whatever happens.

        Raises:
            GroupError: not every member took all of them.
        """
        feed = self._feed = Feed(layout, self._patience.silence_s)
        self._fan_out.version = version
        sending = aside(lambda: self._sender.send(feed))
        sending.add_done_callback(lambda done: feed.finish(done.exception()))
        feed.give(weights)
        if (error := feed.outcome(self._patience.silence_s + self._patience.answer_s)) is not None:
            raise GroupError(_words(error)) from error

    def close(self) -> None:
        """Leave the group; calling it twice does no harm."""
        self._sender.close()

    def _failed(self, error: ServerError) -> None:
        """Take in at once that a server did not answer: the exchange with it may hang for long."""
        self._first.put(error)
        if self._feed is not None:
            self._feed.finish(error)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
